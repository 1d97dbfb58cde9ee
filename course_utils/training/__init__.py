"""Recipe x profile -> adapter."""
