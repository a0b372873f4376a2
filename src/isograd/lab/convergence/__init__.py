"""Whether Invariant Gradient Alignment converges, how fast, and to what: ``isograd lab convergence``."""
