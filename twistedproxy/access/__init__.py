"""Who may go where: pure decisions about clients, ports and resolved addresses."""
