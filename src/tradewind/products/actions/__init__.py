"""What can happen to the catalogue and to stock."""
