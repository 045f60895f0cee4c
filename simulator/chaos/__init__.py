"""`make chaos`: a stream of random events over several hosts while parts are killed at random.

    __main__.py   the command line: duration, seed, hosts
    stage.py      the parts: Engine, Redis, cattle, two bridges, the hosts' workers, proxies between
    stream.py     the events: random wishes for a few instances of each host
    faults.py     what is broken, chosen by the seed, mended again, and how long recovery took
    account.py    what became of every event, and the table
    ledger_states.py  what the ledger says of an event without an answer

What the figures mean:

- An *event* is one frame that cattle sends. Cattle repeats a call that was not answered in time
  with a new event under a new id, and the simulated one does the same: a *call* is an event and
  its repetitions.
- *Lost* is an event that had no final reply by its deadline although every part it needs was back
  `GRACE_S` before that, and of which the ledger does not say that it ran out of time; and a call
  that has no final reply at the end, when all parts are well. An event needs cattle, Redis, the
  Engine and a worker of its host; two bridges run all the time, so that the death of one of them
  excuses nothing, and neither does the death of one of two workers.
- *Expired* is an event whose parts were away for so long that its deadline passed: by then cattle
  listens no more and sends the next one, so nobody can answer it. It is no loss: its call is.
- *Expired for want of time* is an event that had no final reply by its deadline with all parts
  well, and that the ledger shows in work until then: waiting for its turn or in its queue, taken
  too late, or answered too late. It happens on a machine that is too slow for the load, and is no
  loss either; on a quiet machine there must be next to none.
- *Sent into no websocket* is an event that cattle published while it had cut every websocket of the
  agent: it never left cattle, which does not know that. Its call is answered by a later event.
- *Late* is a reply that came after its event's deadline; cattle takes no notice of it.
- *Duplicates* are finals beyond the first for one event. With the same reply id it is a reply whose
  201 was lost on the way: nobody can tell that from a reply that did not arrive, and cattle knows
  it by its id. Distinct ids would be two answers, and must not be.
- *Doubled* is an instance with two containers at any of the looks at the Engine.
- *Recovery* is the time from a part being back until an event is answered that was sent to its host
  the moment it was broken; nothing when it was answered meanwhile.
"""
