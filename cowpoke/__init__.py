"""What bridge and worker agree on; neither knows more of the other than stands here.

In the order an event meets them:

- `events`: an event as cattle sends it.
- `routes`: event name -> lane, lane -> queue of the host.
- `messages`: the Celery message that stands in the queue for an event.
- `broker`: where Redis is; `seal`: payloads and results are sealed in it.
- `envelopes`: what of an event is in clear there, and what is sealed beside it.
- `keys`: every Redis key of ours, its owner and its lifetime.
- `clock`: the Redis server's, by which all times are.
- `ledger`: one entry per event and its states; each step is one atomic script.
- `leases`: which worker processes and bridges are alive.
- `sweeper`: what must be sent again or answered by us, as a pure decision.
- `outcomes`: what became of an event, on its way back to cattle.
- `secrets`: which keys of cattle's JSON are secret; `urls`: which parts of an url.
- `scrubbing`: takes secret values out of every text that leaves an event.
- `cli`: the command `cowpoke`; `distribution`: version and subcommands; `acl`: Redis ACL rules.
"""
