"""Lists of hosts and URLs that are blocked: read, kept small, and looked up."""
