"""The machine that a worker runs on: its identity, facts, locks, scripts and state folder."""
