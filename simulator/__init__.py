"""Simulated cattle server (Rancher 1.x) on loopback, for the demo, end-to-end tests and load tests.

It implements the server side of the event protocol and can inject faults. The files, in flow order:

    settings.py        environment -> SimulatorSettings
    server.py          CattleServer: wires the parts, starts and stops; the entry point for tests
    wire.py            the JSON shapes: event frames, topics, ids, error bodies
    agents.py          accounts and keys, agents and their states, who may connect
    schemas.py         the types that an account's role may use
    tokens.py          registration tokens
    registration.py    /registrationtokens, /register: how a host joins
    scripts.py         /scripts: what a joining host downloads
    hosts.py           hosts: made by reports, removed by people, and what dies then
    instances.py       the containers that cattle knows, and their states
    container_events.py       /containerevents: what agents say happened to containers
    container_event_rules.py  what cattle makes of it: imports, starts and stops in its books
    instance_lists.py  the lists of containers in pings, and the events derived from them
    networks.py        networks with and without subnets, and network cards in them
    subscriptions.py   /subscribe: sockets, topics, heartbeats, the 100-frame limit
    calls.py           a call: an event, its reply address, its timer, and the matching of replies
    call_record.py     the record of one call
    processes.py       cattle's processes after a call: replay, undo, remove
    contexts.py        the `context` of an event
    publish.py         /publish: validation, 201/4xx, hand-over to the calls
    pings.py           the ping schedule, and agent states after missed pings
    configcontent.py   /configcontent: the config item versions that an agent reported
    api.py             other cattle resources that a bridge uses
    faults.py          fault injection
    stats.py           counters
    control.py         /simulator/...: send events, show replies, inject faults
    control_hosts.py   the same for hosts: tokens, lists, removal
    control_containers.py  container events received, instances known
    client.py, client_hosts.py  a synchronous client of that control API
    secrets.py         /secrets: secrets volumes, wrapped with the key that a host reported
    volumes.py         named volumes in events, and their removal
    storage_driver.py, storage_protocol.py  a stand-in for Rancher's storage drivers
    plugin_manager/    a stand-in for Rancher's plugin-manager
    sample.py          events of one small instance, as cattle 1.6 sends them
    rows.py            the database rows that those events carry

If the recordings of a real cattle 1.6 and the reference disagree, the recordings win.

Only the demo and the tests import this package. It does not import bridge or worker, because a
protocol bug in shared code would go unnoticed.
"""
