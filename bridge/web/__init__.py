"""What a bridge serves over HTTP: health, metrics, and the status page."""
