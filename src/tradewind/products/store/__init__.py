"""SQL of products, one function per statement."""
