"""What is known of accounts without asking anybody: names, passwords, limits, shapes."""
