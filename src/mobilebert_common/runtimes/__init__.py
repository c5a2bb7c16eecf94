"""Exported models: what is in their folder, and one small file for each runtime that predicts with them."""
