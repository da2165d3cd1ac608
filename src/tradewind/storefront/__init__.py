"""The store's own pages: what a person sees who opens it in a browser."""
