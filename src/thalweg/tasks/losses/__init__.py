"""The formulas of the losses, one family a file; `thalweg.tasks.objectives` is their table."""
