"""Columns in, verdict out: what is wrong with a run, on what evidence, and what to change."""
