"""Load a model, adapt it, ask it."""
