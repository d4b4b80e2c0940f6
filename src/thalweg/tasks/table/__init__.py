"""A table: read, understood column by column, split, and encoded as numbers."""
