"""Group reinforcement learning in which tokens that completions share cancel."""
