"""The ways that requests go on: to the servers themselves, or by other proxies, and what is said to these."""
