"""The bench: what the system costs beside the raw Engine, measured in one run.

    __main__.py     the run: options, order of the measurements, the end
    stack.py        Stack: Redis, cattle, worker and bridge as real processes
    containers.py   Raw: the floor (Docker's SDK in a loop), other containers, clearing away
    activates.py    activate beside the floor, one by one and many at once
    pings.py        the round trip of a plain ping
    stages.py       where the time of an event went, by the ledger's own times
    counting.py     CallCounter: what goes through the Engine's socket, counted there
    operations.py   count_calls: Docker calls per operation
    footprint.py    memory and idle CPU of each process
    figures.py      the figures: percentiles, and what one run found
    report.py       the figures as tables, as JSON and in docs/performance.md

Run it by `make bench`; docs/performance.md says what it found last.
"""
