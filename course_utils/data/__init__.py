"""Rows, their tokens, and the labels that carry loss."""
