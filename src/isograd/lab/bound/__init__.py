"""Does masking by cross-domain variance lower the risk on unseen domains, and how in K: ``isograd lab bound``."""
