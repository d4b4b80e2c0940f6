"""What a run leaves behind: weights and the folder of a run."""
