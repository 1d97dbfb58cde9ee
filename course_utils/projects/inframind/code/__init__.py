"""Infrastructure code, read by parsers within limits."""
