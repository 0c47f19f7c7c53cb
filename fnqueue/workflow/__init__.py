"""Calls not yet made, and how they hang together."""
