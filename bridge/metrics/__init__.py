"""Prometheus metrics of a bridge.

- `own`: what this bridge counts and knows by itself, also while Redis is away.
- `finished`: the events that are over, by name, end and stage.
- `shared`: what Redis tells of all hosts; the same at each bridge.
- `totals`: counts of the workers' processes as totals that never go back.
- `collector`: all of it, at each scrape.

Only `own` and `shared` have series per host, and no more hosts than `BRIDGE_HOST_SERIES` have them.
Tasks by name and worker are Flower's, at its `/metrics`.
"""
