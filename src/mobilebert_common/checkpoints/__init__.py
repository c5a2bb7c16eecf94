"""Checkpoints that are read without a framework: one reader a format, and what all of them share."""
