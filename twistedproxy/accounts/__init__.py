"""Who uses the proxy: accounts, and how clients prove that one is theirs."""
