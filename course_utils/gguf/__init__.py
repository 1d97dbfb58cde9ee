"""Ship it: merge, export, compare, serve."""
