"""The plane that steers: what an operator can see and do, at one door, and the link to the workers."""
