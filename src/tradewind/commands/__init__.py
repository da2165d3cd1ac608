"""What the command line does, one module a task; `__main__` only names and wires them."""
