"""Training, evaluation and prediction in either framework."""
