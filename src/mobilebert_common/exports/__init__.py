"""Export a checkpoint for another runtime, with a report on what that changes."""
