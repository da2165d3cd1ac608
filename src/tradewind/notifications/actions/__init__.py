"""What can happen in notifications; one rule: each function here opens its own transaction."""
