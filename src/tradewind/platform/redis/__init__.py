"""Redis, which makes things faster and knows nothing by itself."""
