"""What happens to the containers of this host, reported to cattle: start, stop, die, kill, destroy.

| module | part |
|---|---|
| following | one process of the host follows the Engine's events |
| coalescing | what of them is reported, and when: a flapping container costs little |
| position | where in the Engine's events this host is; kept in a file |
| reporting | takes a fresh inspect, seals the report and writes it to Redis |
| writing | the stream in Redis |
"""
