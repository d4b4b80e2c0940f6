"""Numbers that a model yields, and where one that is not finite came from."""
