"""What every service stands on and no business word is in."""
