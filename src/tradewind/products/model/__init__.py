"""Pure types and rules of catalogue, search and stock; no I/O."""
