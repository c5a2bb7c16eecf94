"""These tests run where KERAS_BACKEND is jax, as in the tox environment of that name."""

import os

os.environ.setdefault("JAX_ENABLE_X64", "1")  # JAX has no float64 otherwise
collect_ignore_glob = [] if os.environ["KERAS_BACKEND"] == "jax" else ["test_*.py"]
