"""Answers of name servers that the settings name: questions and replies, transports, and servers in turn."""
