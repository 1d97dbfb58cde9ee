"""Which machine this is, and what a run did on it."""
