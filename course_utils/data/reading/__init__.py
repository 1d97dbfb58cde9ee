"""Files, folders and sets of others: what they hold, and how their rows are meant."""
