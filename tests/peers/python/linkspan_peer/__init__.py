"""The wire contract, read in Python from envelopes/CONTRACT.md and envelopes/DAEMONS.md."""
