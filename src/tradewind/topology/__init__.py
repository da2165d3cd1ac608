"""What runs where when the store is split, and what is generated from that."""
