"""Lists of what is blocked, on disk: fetched, compiled, kept, and opened by those who look things up."""
