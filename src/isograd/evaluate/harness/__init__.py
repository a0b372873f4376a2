"""Public benchmarks on lm-evaluation-harness: tasks, answer reading, backends and the store of responses."""
