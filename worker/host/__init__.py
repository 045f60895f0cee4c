"""The machine that a worker runs on: its identity, facts, RSA key, cloud, locks, scripts."""
