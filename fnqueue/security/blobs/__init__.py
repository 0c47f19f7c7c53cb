"""What is too large for a message or a record: sealed once, and put where only its random name leads to it."""
