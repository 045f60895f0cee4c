"""Join this host to Rancher, take it over from `rancher-agent`, and leave."""
