"""What is usual for a language model, where nothing else was asked for."""

CLIP = 1.0
"""Of the gradient's norm: the first steps at the usual rate throw the weights too far else."""
