"""What a training log says."""
