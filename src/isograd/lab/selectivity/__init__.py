"""What a mask lets through of the logic and of the shortcut, on a model in training: ``isograd lab selectivity``."""
