"""HTTP in: the routes of users."""
