"""What a training run has besides its trainer: a folder, a configuration with a hash, signals, resuming."""
