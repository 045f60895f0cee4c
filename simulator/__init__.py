"""A small cattle server (Rancher 1.x) on loopback, for the demo, the end-to-end and the load tests.

It plays the server's side of the event protocol and breaks on command. The files, in flow order:

    settings.py        environment -> SimulatorSettings
    server.py          CattleServer: wires the parts, listens, stops; the Python way in for tests
    wire.py            the JSON shapes: event frames, topics, ids, error bodies
    agents.py          accounts and keys, agents and their states, who may connect
    subscriptions.py   /subscribe: sockets, topics, heartbeats, the 100-frame limit
    calls.py           a call: an event, its reply address, its timer, and the rules of matching
    call_record.py     what is remembered of one call
    processes.py       what cattle's processes do after a call: replay, undo, remove
    contexts.py        the `context` of an event
    publish.py         /publish: validation, 201/4xx, hand-over to the calls
    pings.py           the liveness schedule and what missed pings do to an agent
    configcontent.py   /configcontent: which versions an agent reported
    api.py             the few other cattle resources an agent asks for
    faults.py          the knobs that break things
    stats.py           counters
    control.py         /simulator/...: send events, see replies, turn knobs
    client.py          a synchronous client of that control API
    sample.py          events of one small instance, as cattle 1.6 sends them
    rows.py            the database rows that those events carry

Where the recordings of a real cattle 1.6 and a reference disagree, the recordings decide.

Nothing but the demo and the tests imports this package, and it imports nothing of the bridge or the
worker: a protocol bug they share with it would go unseen.
"""
