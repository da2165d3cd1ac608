"""What can happen to accounts, sessions and addresses."""
