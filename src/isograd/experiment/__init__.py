"""Whole experiments: train and measure runs in worker processes, and the demo. Above every room but the CLI."""
