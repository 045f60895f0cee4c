"""What Celery runs: one task per event name, and the way of its result."""
