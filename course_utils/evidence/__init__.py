"""What was claimed, what was computed, and what is said of it."""
