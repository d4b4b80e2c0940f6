"""The fault bench: real tasks, planted faults, contenders, and what became of each run."""
