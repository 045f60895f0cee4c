"""The bridge: cattle's websockets on one side, the ledger in Redis on the other.

The packages in the order in which an event meets them:

- `agents`: the agents of the settings and of hosts that joined, and their subscriptions.
- `inbound`: one agent's websocket (`stream`), when it is opened again (`reconnect`, `pace`,
  `refusing`), a frame as an event (`decode`), and events as entries of the ledger (`intake`).
- `hosts`: live workers, the host of each agent, and `sweeping`: lost events are sent again.
- `outbound`: outcomes from Redis (`reading`), in cattle's shape (`replies`), POSTed (`publisher`)
  until cattle takes them or they are given up (`refusals`).
- `container_events`: reports of containers, read from Redis in order and POSTed to cattle.

`service` wires the parts. `settings`, `client` (sessions, proxies, limits of answers), `awake` (a
clock that does not count pauses), `doorbell`, `metrics` and `errors` are used by all of them.

It speaks cattle and contains no Docker code.
"""
