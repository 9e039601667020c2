"""Limits at work: what waits and rests because of them, what workers tell each other, and quotas on the disk."""
