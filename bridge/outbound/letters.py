"""Outcomes opened for sending: what the reply is made of, and with whose keys it goes out."""

from dataclasses import dataclass, replace

from bridge.agents.registry import Agents
from bridge.settings import AgentKeys
from cowpoke.envelopes import (
    Envelope,
    SealedOutcome,
    UnknownVersionError,
    opened_envelope,
    opened_outcome,
)
from cowpoke.ledger.outcome_stream import Delivery
from cowpoke.log import logger
from cowpoke.outcomes import Outcome
from cowpoke.routes import LANES, Lane, base_name
from cowpoke.seal import ClusterKeyring, SealBrokenError, Sealer

_log = logger(__name__)


class UnreadableOutcomeError(Exception):
    """Raised when this bridge cannot open an outcome or its envelope; another bridge may."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """An outcome with its opened envelope, and the keys to send its reply with.

    The outcome itself is opened when it is asked for: of thousands that wait only a few are needed
    decoded.
    """

    delivery: Delivery
    envelope: Envelope
    #: None while the bridge has no agent at all.
    agent: AgentKeys | None
    #: Until when cattle waits (ms, by the Redis server's clock).
    deadline_ms: int
    sealer: Sealer

    @property
    def event_id(self) -> str:
        """The event that is answered."""
        return self.envelope.event_id

    @property
    def is_pong(self) -> bool:
        """Whether it answers a ping or another event of that lane."""
        # The sealed name decides: the lane beside it anybody could write who writes to Redis.
        return LANES.get(base_name(str(self.envelope.echo["name"]))) is Lane.CONTROL

    def outcome(self) -> Outcome:
        """The outcome, opened now.

        Errors: UnreadableOutcomeError when no worker of the host sealed it for this event as this
        kind, or a later release did.
        """
        return self._opened().outcome

    def claimed_ms(self) -> int:
        """When the worker claimed the event (ms, by the Redis server's clock); 0 when none did.

        Errors: UnreadableOutcomeError.
        """
        return self._opened().claimed_ms

    def with_deadline_of_outcome(self) -> "Letter":
        """Return the letter with the deadline that progress moved, if it did.

        Errors: UnreadableOutcomeError.
        """
        return replace(self, deadline_ms=max(self._opened().deadline_ms, self.deadline_ms))

    def _opened(self) -> SealedOutcome:
        try:
            return opened_outcome(
                self.sealer,
                self.delivery.content,
                event_id=self.event_id,
                kind=self.delivery.kind,
            )
        except (SealBrokenError, UnknownVersionError) as problem:
            raise UnreadableOutcomeError(str(problem)) from None


class Letters:
    """Opens deliveries with the keys of this bridge."""

    def __init__(self, keyring: ClusterKeyring, agents: Agents) -> None:
        self._keyring = keyring
        self._agents = agents

    def opened(self, delivery: Delivery) -> Letter:
        """Open the envelope of a delivery.

        Errors: UnreadableOutcomeError when no bridge sealed it for this event of this host, or a
        later release did.
        """
        try:
            envelope = opened_envelope(
                self._keyring.bridge, delivery.envelope, host_uuid=delivery.host_uuid
            )
        except (SealBrokenError, UnknownVersionError) as problem:
            raise UnreadableOutcomeError(str(problem)) from None
        if envelope.event_id != delivery.event_id:
            raise UnreadableOutcomeError(f"the envelope is of event {envelope.event_id}")
        agent = self._agents.of(envelope.host_uuid, envelope.agent)
        if agent is None:
            # Another bridge's, one that was taken out of the settings, or one that left long ago;
            # cattle looks only at the reply's name, so that any agent may send it, and somebody
            # waits for it.
            agent = self._agents.any_for(envelope.host_uuid)
            _log.warning("reply.agent_changed", event_id=envelope.event_id, agent=envelope.agent)
        return Letter(
            delivery=delivery,
            envelope=envelope,
            agent=agent,
            deadline_ms=envelope.deadline_ms,
            sealer=self._keyring.host(delivery.host_uuid),
        )
