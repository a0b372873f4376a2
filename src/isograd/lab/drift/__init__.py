"""Cancellation, its failure and what it costs, on policies that can be summed exactly: ``isograd lab drift``."""
