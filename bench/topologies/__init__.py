"""What splitting costs: the same store in one process, with a wire codec, and split."""
