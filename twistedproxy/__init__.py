"""The intercepting proxy that you can run as a service."""

__version__ = "0.1.0"
