"""`make chaos`: a stream of random events over several hosts while parts are killed at random.

    __main__.py   the command line: duration, seed, hosts
    stage.py      the parts: Engine, Redis, cattle, two bridges, workers, and proxies between them
    stream.py     the events: random requests for a few instances of each host
    faults.py     the faults, chosen by the seed, and the recovery times
    account.py    the result of every event, and the table
    ledger_states.py  the ledger entry of an event without an answer

Figures:

- *Event*: one frame that cattle sends. cattle replays a call that was not answered in time with a
  new event under a new id, and so does the simulator. A *call* is an event with its replays.
- *Lost*: an event without a final reply by its deadline, although every part it needs was back
  `GRACE_S` before that, and the ledger does not show that it ran out of time. Also a call without a
  final reply at the end, when all parts are healthy. An event needs cattle, Redis, the Engine and a
  worker of its host. Two bridges run all the time, so an event that is lost because one bridge, or
  one of two workers, was killed counts as lost.
- *Expired*: an event whose parts were away until its deadline passed. cattle then ignores a reply
  and sends the next event. It is no loss, because its call continues.
- *Expired for want of time*: an event without a final reply by its deadline while all parts were
  healthy, which was in progress until then according to the ledger: in its FIFO or queue, claimed
  too late, or answered too late. This happens if the machine is too slow for the load, and is no
  loss. On an idle machine there must be almost none.
- *Sent into no websocket*: an event that cattle published while no websocket of the agent was open.
  It never left cattle. Its call is answered by a later event.
- *Late*: a reply after the deadline of its event. cattle ignores it.
- *Duplicates*: final replies of one event beyond the first. With the same reply id, a 201 was lost:
  the bridge cannot distinguish that from a lost reply, and cattle ignores the second one. Distinct
  ids are two answers and must not occur.
- *Doubled*: an instance with two containers in any check of the Engine.
- *Recovery*: the time from the repair of a part until the probe is answered, an event that was sent
  when the part broke; 0 if it was answered before the repair.
"""
