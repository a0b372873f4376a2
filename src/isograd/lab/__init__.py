"""What is claimed about the methods, as small exact experiments: the commands of ``isograd lab``."""
