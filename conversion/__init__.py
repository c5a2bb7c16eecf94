"""Convert checkpoints between dialects, and live models between the twins. Only this package imports both twins."""
