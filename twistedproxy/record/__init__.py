"""What the proxy writes down: the access log and the operational log."""
