"""Exact small simulations that put claims about group policy gradients to the test. See ``isograd lab drift``."""
