"""Collected only where the Model Garden is installed: `tox run -e garden`."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("official") else ["test_*.py"]
