"""Checkpoint dialects that are read and written without a framework, one file each."""
