"""Who somebody is: accounts, sign-in, sessions, addresses, roles."""
