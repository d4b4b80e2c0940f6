"""Run a rule over memory: NumPy (the living definition) and torch today."""
