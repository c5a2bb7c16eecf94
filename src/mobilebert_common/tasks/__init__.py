"""Tasks: each a data format with its features, architecture, metric and predictions."""
