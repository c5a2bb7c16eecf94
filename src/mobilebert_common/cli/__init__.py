"""The command line `mobilebert`."""
