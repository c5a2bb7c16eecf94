"""What test modules share; no tests."""
