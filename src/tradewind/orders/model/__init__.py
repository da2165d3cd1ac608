"""Pure types and rules of carts, orders and payments; no I/O."""
