"""HTTP in, actions out."""
