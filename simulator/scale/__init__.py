"""`make scale`: the cost of many hosts at rest, and of one worker at rest.

The hosts are simulated: one thread writes and prolongs the leases of all workers as their
supervisors do (`fleet.py`). The parts of a bridge that follow leases, sweep events and collect
outcomes run in a process of their own, without websockets (`watcher.py`). Redis is a real server,
and the worker at rest is a real one.
"""
