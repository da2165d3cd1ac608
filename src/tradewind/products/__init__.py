"""What is for sale and how much of it: catalogue, search, stock."""
