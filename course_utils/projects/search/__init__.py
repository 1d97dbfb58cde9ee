"""The fourth project: a wish becomes a query, and a table answers it."""
