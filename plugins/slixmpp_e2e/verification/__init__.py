"""Is the key at the other end the peer's? Answers what authenticators ask."""
