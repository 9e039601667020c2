"""The workers as the daemon has them: one in its own process, or several processes that it supervises."""
