"""Programs of a few lines each, by what is wrong with them or odd about them."""
