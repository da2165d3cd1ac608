"""What people are told: inbox, mail, preferences."""
