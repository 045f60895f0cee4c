"""The processes of a worker: a supervisor and its lanes."""
