"""Tasks: a data format, its features, its head, its metric and its predictions."""
