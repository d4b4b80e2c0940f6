"""Models by name, one short file each, and what a model of the user's own has to keep to."""
