"""What can happen to carts, orders and payments."""
