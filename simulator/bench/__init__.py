"""The benchmark: the cost of the system compared with the raw Engine, measured in one run.

    __main__.py     the run: options, order of measurements, cleanup
    stack.py        Stack: Redis, cattle, worker and bridge as real processes
    containers.py   Raw: the floor (Docker's SDK in a loop), other containers, cleanup
    activates.py    activate compared with the floor, one by one and in bursts
    pings.py        the round trip of a plain ping
    stages.py       duration of each stage of an event, from the ledger's times
    counting.py     CallCounter: counts the requests on the Engine's socket
    operations.py   count_calls: Docker calls per operation
    footprint.py    memory and idle CPU of each process
    figures.py      the figures of one run, and percentiles
    report.py       the figures as tables, as JSON and in docs/performance.md

Run it with `make bench`; docs/performance.md has the latest figures.
"""
