"""What mattered: which columns, which rows, which groups. Nothing is trained again."""
