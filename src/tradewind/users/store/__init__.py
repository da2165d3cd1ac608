"""The SQL of users, by table."""
