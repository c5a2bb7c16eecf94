"""Files that are read with suspicion and written whole: folders with a manifest, strict JSON, the hub's cache."""
