"""A daemon in Python, written from envelopes/CONTRACT.md and envelopes/DAEMONS.md."""
