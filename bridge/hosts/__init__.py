"""Which hosts are alive, and which host an agent is."""
