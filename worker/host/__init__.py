"""The machine that a worker runs on: its identity, its facts, its locks and its files."""
