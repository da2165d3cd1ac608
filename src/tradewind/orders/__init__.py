"""What is bought: carts, checkout, payments, orders."""
