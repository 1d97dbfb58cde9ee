"""k of n, paired answers, and what n could have seen."""
