"""Container events: read from each host's stream in order, POSTed to cattle as containerevents."""
