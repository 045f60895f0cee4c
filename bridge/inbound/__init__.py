"""From cattle's websockets into the ledger."""
