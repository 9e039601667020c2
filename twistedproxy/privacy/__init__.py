"""What messages give away, and what is kept back: pure rules for what goes to servers, to clients and into the log."""
