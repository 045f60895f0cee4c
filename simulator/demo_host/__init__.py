"""`make demo-host`: a Rancher host lives on cowpoke, from its first join until it leaves."""
