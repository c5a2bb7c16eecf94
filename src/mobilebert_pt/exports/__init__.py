"""Files of a PyTorch model for other runtimes: one module for each, with a function `write`."""
