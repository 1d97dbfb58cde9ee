"""What is to be trained, as numbers with reasons."""
