"""A real retailer's year through the public API, compared with an independent count."""
