"""The bridge: cattle's websockets on one side, the ledger in Redis on the other.

In the order an event meets the modules:

- `settings`, `agents`: the server, the keys, and whose host each agent is.
- `stream`: one agent's websocket; `reconnect` decides how long to wait when it ended, `pace` keeps
  many agents from coming back in the same instant.
- `hosts` finds the host of each agent by its workers' leases; `standing`: what each waits for.
- `awake`: a clock that does not count pauses; `client`: sessions, proxies, limits of answers.
- `waking`: an agent that cattle has given up is taken back.
- `decode`: a frame becomes an event, or a refusal.
- `intake`: events become entries of the ledger and tasks, in batches.
- `sweeping`: what got lost on a host is sent again.
- `outbox`: outcomes come back and leave in order: `reading` takes them from Redis, `sending` sends
  them, `replies` gives them cattle's shape.
- `configcontent`: config items nobody fetched are reported to cattle before the reply.
- `metrics`: what an operator watches, for Prometheus.
- `publisher`: one pooled client POSTs them, and tells what may be tried again; `refusals` decides
  when a reply is given up.
- `errors`: what may go wrong here.

It speaks cattle and knows nothing of Docker.
"""
