"""From data to a task: tables, sources, splits, losses, metrics, baselines, models."""
