"""SQL of orders, one function per statement."""
