"""Files of a Keras model for other runtimes: one module for each, with a function `write`."""
