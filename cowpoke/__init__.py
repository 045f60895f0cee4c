"""The contract between bridge and worker. Neither imports the other.

In the order in which an event passes them:

- `events`: an event as cattle sends it.
- `routes`: event name -> lane, lane -> queue of the host.
- `messages`: the Celery message in the queue for an event.
- `settings`, `broker`: where Redis is; `seal`: encrypts and authenticates what is stored there.
- `envelopes`: the sealed objects of an event: payload, envelope, outcome; `version`: their version.
- `keys`: all Redis keys, their owners and lifetimes; `acl`: the Redis users.
- `clock`: the clock of the Redis server, which all times are measured by.
- `ledger`: one entry per event and its states; each step is one atomic script.
- `lease`, `liveness`: which workers and bridges are alive; `host_keys`: which keys they share.
- `outcomes`: progress and final outcome of an event, on the way back to cattle.
- `container_events`: what happened to containers by itself, on the way to cattle.
- `bundle`: what a new host needs of the hub; `joined`: the agent keys that a host brings;
  `removed`: that cattle refuses them.
- `dead_letters`: what nobody could read.
- `secrets`: which keys of cattle's JSON are secret; `urls`: which parts of a URL.
- `scrubbing`: removes secret values from every text that leaves an event.
- `cli`: the command `cowpoke`; `distribution`: version and subcommands.
"""
