"""The client-facing side: protocols, their factory, and the pages that clients see."""
