"""The two twins against each other."""
