"""These tests run where KERAS_BACKEND is jax, as in the tox environment of that name."""

import os

collect_ignore_glob = [] if os.environ["KERAS_BACKEND"] == "jax" else ["test_*.py"]
