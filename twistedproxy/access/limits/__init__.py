"""How much somebody may take up: rates, counts and quotas, and what is known of each who is limited."""
