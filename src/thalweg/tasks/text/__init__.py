"""Text: a column of a table as tokens, and bytes for a language model."""
