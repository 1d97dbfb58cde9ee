"""Science questions through lm-eval."""
