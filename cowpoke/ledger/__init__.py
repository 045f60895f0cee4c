"""The ledger: one entry per event, from its receipt to its one final answer."""
