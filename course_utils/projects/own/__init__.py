"""Rows of your own: a recipe from a small file, and checks from the rows."""
