"""The ordinary life of a ledger as rules of a state machine: cattle, bridges and workers."""

import time
from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cowpoke import keys
from cowpoke.ledger.operator import Did, OperatorLedger
from cowpoke.ledger.states import Accepted, Verdict
from cowpoke.liveness import RENEW_EVERY_S
from cowpoke.messages import event_id_of
from cowpoke.outcomes import error, progress, success
from cowpoke.routes import Lane, queue_for
from tests.ledger_book import Book
from tests.ledger_faults import MachineSweeper
from tests.ledger_world import EVENTS, HOSTS, PINGS, Bridge, Process, Worker, look
from tests.ledgers import Ledgers, arrival, make_ledgers

ids = st.sampled_from(sorted(EVENTS))
hosts = st.sampled_from(HOSTS)
batches = st.lists(ids, min_size=1, max_size=4)
picks = st.integers(0, 11)
#: Each step and how often it is chosen, in parts of the whole.
WEIGHTS = {
    "accept": 5,
    "refuse": 1,
    "receive": 6,
    "pop": 2,
    "claim": 2,
    "complete": 5,
    "report_progress": 4,
    "retry": 3,
    "put_back": 2,
    "operate": 2,
    "read": 4,
    "post": 5,
    "progress_arrives": 3,
    "time_passes": 6,
    "sweep": 6,
    "change_workers": 3,
    "change_bridges": 2,
    "harm_a_message": 2,
    "harm_redis": 2,
}
ACTIONS = [name for name, weight in WEIGHTS.items() for _ in range(weight)]
#: What is done instead of what cannot be done now: the first that can.
OTHERWISE = ("post", "receive", "claim", "complete", "accept")
#: What is done before `OTHERWISE`: without it progress would be on its way in few runs.
LED_TO_BY = {"progress_arrives": ("report_progress",)}


class LedgerLife(RuleBasedStateMachine):
    """Everybody who uses the ledger. `clients` and `steps` are set by the test."""

    clients: tuple
    steps: Counter

    def __init__(self):
        super().__init__()
        self.client, self.raw = self.clients
        self.client.flushall()
        self.ledgers: Ledgers = make_ledgers(self.client)
        self.sweeper = MachineSweeper(self.client, self.ledgers.keyring, self.ledgers.clock)
        self.operator = OperatorLedger(self.client, self.ledgers.keyring)
        self.book = Book()
        self.workers: list[Worker] = []
        #: Their leases are away, and they do not know.
        self.cut: set[str] = set()
        self.bridges: list[Bridge] = []
        self.snapshot = None
        self.old_hash = None
        self.numbers = iter(range(1, 10_000))
        self.absent = False
        self.passed_ms = 0
        self.renewed_s = time.monotonic()

    @initialize(absent=st.booleans(), workers=st.lists(hosts, max_size=3), first=batches)
    def begin(self, absent, workers, first):
        """Two bridges, some workers and events; at the end the workers are there, or not."""
        self.absent = absent
        for _ in range(2):
            self.bridges.append(Bridge(self.ledgers, next(self.numbers)))
        for host in workers:
            self.workers.append(Worker(self.ledgers, host, next(self.numbers)))
        self._offer(*(self._arrival(event_id, 60_000) for event_id in first))

    @property
    def processes(self) -> list[Process]:
        """The processes of all live workers."""
        return [process for worker in self.workers for process in worker.processes.values()]

    @invariant()
    def everything_is_in_order(self):
        """After each step."""
        self.book.check(look(self.ledgers), self.processes)

    @rule(what=st.sampled_from(ACTIONS), event_ids=batches, pick=picks, fine=st.booleans())
    def act(self, what, event_ids, pick, fine):
        """Take one step: `what` or, where that cannot be done now, what can."""
        ways = (what, *LED_TO_BY.get(what, ()), *OTHERWISE)
        what = next(one for one in ways if self._can(one))
        self.steps[what] += 1
        if time.monotonic() - self.renewed_s > RENEW_EVERY_S:
            # On a slow machine real time passes too, and what lives renews its leases.
            self._renew()
        if what == "harm_redis":
            # It may remove what says that a bridge is sending progress.
            sending = {one.event_id for bridge in self.bridges for _, one in bridge.posting}
            self.book.unreserved |= sending
        getattr(self, f"_{what}")(event_ids, pick, fine)

    def _can(self, what):
        match what:
            case "receive" | "pop":
                return bool(self._hungry())
            case "claim":
                return any(one.messages for one in self.processes)
            case "progress_arrives":
                return any(one.posting for one in self.bridges)
            case "post":
                return any(one.in_hand for one in self.bridges)
            case "complete" | "report_progress" | "retry" | "put_back":
                return any(one.holds for one in self.processes)
            case _:
                return True

    # -- bridges, inbound ------------------------------------------------------------------------

    def _accept(self, event_ids, pick, fine):
        """Cattle sends events, for the first time or again."""
        remaining_ms = 60_000 if fine else (45_000, 2_000, 0)[pick % 3]
        self._offer(*(self._arrival(event_id, remaining_ms) for event_id in event_ids))

    def _arrival(self, event_id, remaining_ms, refusal=None):
        host, fields = EVENTS[event_id]
        one = arrival(event_id, host=host, remaining_ms=remaining_ms, **fields)
        return type(one)(**{n: getattr(one, n) for n in one.__slots__} | {"refusal": refusal})

    def _offer(self, *arrivals):
        answers = self.ledgers.intake.accept(arrivals)
        for one, answer in zip(arrivals, answers, strict=True):
            assert not isinstance(answer, Exception), answer
            if answer in {Accepted.QUEUED, Accepted.RECORDED, Accepted.REFUSED}:
                self._check_free(one.event.id)
                self.book.began(one.event.id)

    def _refuse(self, event_ids, pick, fine):  # noqa: ARG002
        """No host can run it, says a bridge."""
        self._offer(self._arrival(event_ids[0], 45_000, error("event-unknown", "what is that")))

    # -- workers ---------------------------------------------------------------------------------

    def _hungry(self):
        """The processes whose queue has messages."""
        queued = self.book.last.queued if self.book.last else {}
        return [one for one in self.processes if queue_for(one.host, one.lane) in queued]

    def _receive(self, event_ids, pick, fine):
        """A process takes messages out of its queue and claims their events."""
        process = self._hungry()[pick % len(self._hungry())]
        for _ in event_ids:
            text = self.client.rpop(queue_for(process.host, process.lane))
            if text is not None:
                self._claim_for(process, event_id_of(text), same_call=not fine)

    def _pop(self, event_ids, pick, fine):  # noqa: ARG002
        """A process takes a message out of its queue, and is slow."""
        process = self._hungry()[pick % len(self._hungry())]
        text = self.client.rpop(queue_for(process.host, process.lane))
        if text is not None:
            process.messages.append(text)

    def _claim(self, event_ids, pick, fine):  # noqa: ARG002
        """A process claims the event of a message that it popped."""
        having = [one for one in self.processes if one.messages]
        process = having[pick % len(having)]
        self._claim_for(process, event_id_of(process.messages.pop(0)), same_call=not fine)

    def _claim_for(self, process, event_id, *, same_call=False):
        token = str(next(self.numbers))
        claim = process.ledger.claim(event_id, token=token)
        if same_call and claim.verdict is Verdict.CLAIMED:
            again = process.ledger.claim(event_id, token=token)
            assert (again.verdict, again.attempts) == (Verdict.CLAIMED, claim.attempts)
        if claim.verdict is Verdict.CLAIMED:
            assert process.ledger.open_event(event_id, claim).id == event_id
            self._check_free(event_id)
            process.holds[event_id] = token
            process.stale.discard(event_id)
            if process.boot_id.partition(".")[0] in self.cut:
                process.stale.add(event_id)

    def _check_free(self, event_id):
        holders = [
            one.boot_id
            for one in self.processes
            if event_id in one.holds and event_id not in one.stale
        ]
        assert not holders, f"{event_id} has live holders: {holders}"

    def _make_stale(self, event_id):
        """Others may have got the event: the invariant of live holders is off for those of now."""
        for process in self.processes:
            if event_id in process.holds:
                process.stale.add(event_id)

    def _held(self, pick):
        held = [(process, one) for process in self.processes for one in sorted(process.holds)]
        return held[pick % len(held)]

    def _report_progress(self, event_ids, pick, fine):
        """Report, so that cattle waits anew; a bridge often reads it at once, and sends it."""
        process, event_id = self._held(pick)
        moved_ms = process.ledger.progress(event_id, progress("on its way"))
        assert moved_ms or event_id in process.stale
        if not fine:
            return
        self._read(event_ids, pick, fine)
        bridge = self.bridges[pick % 2]
        its = [one for one in bridge.in_hand if one[1].event_id == event_id]
        if its and pick % 3:
            self._send(bridge, *its[0], is_bridge_killed=False)

    def _complete(self, event_ids, pick, fine):  # noqa: ARG002
        """An operation ends."""
        self._complete_for(*self._held(pick), success({}) if fine else error("a", "b"))

    def _complete_for(self, process, event_id, outcome):
        took_effect = process.ledger.complete(event_id, outcome)
        assert took_effect or event_id in process.stale
        self._let_go(process, event_id)
        if took_effect:
            self._make_stale(event_id)

    def _let_go(self, process, event_id):
        del process.holds[event_id]
        process.stale.discard(event_id)

    def _retry(self, event_ids, pick, fine):
        """Celery sends the message again, or dies first; a start may move to the lane of pulls."""
        process, event_id = self._held(pick)
        moves = len(event_ids) > 2 and event_id not in PINGS
        lane = Lane.IMAGES if moves else process.lane
        queue = queue_for(process.host, lane)
        delay_ms = (0, 200, 15_000)[pick % 3]
        message = self.client.hget(keys.event(process.host, event_id), "message")
        if process.ledger.retry(event_id, delay_ms=delay_ms, lane=lane, queue=queue) and fine:
            self.client.lpush(queue, message + " ")
        self._let_go(process, event_id)

    def _put_back(self, event_ids, pick, fine):  # noqa: ARG002
        """A process that stops requeues; one that cannot read an event rejects it."""
        process, event_id = self._held(pick)
        if fine:
            process.ledger.requeue(event_id)
        else:
            process.ledger.reject(event_id, delay_ms=3_000)
        self._let_go(process, event_id)

    def _operate(self, event_ids, pick, fine):  # noqa: ARG002
        """A person has an event run now that waits for its next try, or drops one."""
        event_id = event_ids[0]
        host = EVENTS[event_id][0]
        if fine:
            self.operator.retry(host, event_id)
        elif self.operator.drop(host, event_id) is Did.DROPPED:
            self._make_stale(event_id)

    # -- bridges, outbound -----------------------------------------------------------------------

    def _read(self, event_ids, pick, fine):
        """A bridge collects the outboxes and reads outcomes."""
        for host in HOSTS:
            self.ledgers.outboxes.collect(host)
        if fine:
            self.bridges[pick % 2].read(len(event_ids))

    def _post(self, event_ids, pick, fine):  # noqa: ARG002
        """A reply goes out; the bridge may be killed before it says so."""
        having = [one for one in self.bridges if one.in_hand]
        bridge = having[pick % len(having)]
        self._send(bridge, *bridge.in_hand[0], is_bridge_killed=not fine and not pick)

    def _send(self, bridge, key, delivery, *, is_bridge_killed):
        if delivery.event_id in {one.event_id for _, one in bridge.posting}:
            return
        if delivery.kind == "progress":
            bridge.in_hand.remove((key, delivery))
            if not delivery.claimed and bridge.replies.begin_progress(
                delivery.host_uuid, delivery.event_id
            ):
                bridge.posting.append((key, delivery))
            else:
                bridge.finish(key, delivery)
        elif not bridge.replies.progress_underway(delivery.event_id):
            bridge.in_hand.remove((key, delivery))
            self.book.posted(delivery.event_id, delivery.kind, delivery.content)
            if is_bridge_killed:
                self._die(bridge)
            else:
                bridge.finish(key, delivery)

    def _progress_arrives(self, event_ids, pick, fine):  # noqa: ARG002
        """Progress that was on its way is at cattle."""
        self._let_progress_arrive()

    def _let_progress_arrive(self):
        for bridge in self.bridges:
            for key, delivery in bridge.posting:
                self.book.posted(delivery.event_id, delivery.kind, delivery.content)
                bridge.replies.end_progress(delivery.event_id)
                bridge.finish(key, delivery)
            bridge.posting.clear()

    def _die(self, bridge):
        self._let_progress_arrive()
        self.client.delete(keys.bridge(bridge.bridge_id))
        self.bridges.remove(bridge)
        self.bridges.append(Bridge(self.ledgers, next(self.numbers)))

    # -- time ------------------------------------------------------------------------------------

    def _time_passes(self, event_ids, pick, fine):  # noqa: ARG002
        """Those who live renew their leases meanwhile."""
        shorter_ms = (100, 1_100, 3_100, 3_100, 4_100, 6_000, 15_000)
        longer_ms = (31_000, 61_000, 700_000)
        self._pass(shorter_ms[pick % 7] if fine or pick > 2 else longer_ms[pick])

    def _pass(self, by_ms):
        self._let_progress_arrive()
        before = self._leases()
        self.ledgers.pass_time(by_ms)
        self.sweeper.up_ms += by_ms
        self.passed_ms += by_ms
        self._renew()
        after = self._leases()
        # Bridges notice within a moment which leases ended.
        self.sweeper.hasten([host for host in HOSTS if before[host] != after[host]])

    def _renew(self):
        for worker in self.workers:
            if worker.worker_id not in self.cut:
                worker.prolong()
        for bridge in self.bridges:
            bridge.set_up()
        self.renewed_s = time.monotonic()

    def _leases(self):
        return {
            host: set(self.client.scan_iter(keys.lease(host, "*"), count=1_000)) for host in HOSTS
        }
