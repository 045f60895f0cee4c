"""Outcomes on their way from the workers to cattle: in order per event, held while cattle is away.

Each stream has a reader (`reading.py`); all share one sender (`sending.py`). When cattle refuses
all keys of this bridge, it gives back what it holds to the other bridges.
"""

import asyncio
from collections import Counter
from contextlib import suppress

import redis

from bridge.agents.registry import Agents
from bridge.doorbell import Announcements
from bridge.outbound.collecting import collect_forever
from bridge.outbound.configcontent import ConfigContent
from bridge.outbound.publisher import Publisher
from bridge.outbound.reading import OutcomeReader
from bridge.outbound.refused_keys import RefusedKeys
from bridge.outbound.sending import Sender
from cowpoke import keys
from cowpoke.clock import Clock
from cowpoke.host_keys import bridge_lease_text
from cowpoke.ledger.outbox import Outboxes
from cowpoke.ledger.outcome_stream import OutcomeStream
from cowpoke.ledger.replies import ReplyLedger
from cowpoke.log import logger
from cowpoke.seal import ClusterKeyring

_log = logger(__name__)


class Outbox:
    """What this bridge has in hand, and the tasks that send it."""

    def __init__(  # noqa: PLR0913 -- wired in one place
        self,
        *,
        client: "redis.Redis",
        ledger: ReplyLedger,
        keyring: ClusterKeyring,
        clock: Clock,
        publisher: Publisher,
        config: ConfigContent,
        agents: Agents,
        concurrency: int,
        memory_bytes: int,
        bridge_id: str,
        announced: Announcements,
    ) -> None:
        self._refused_keys = RefusedKeys(agents.__len__)
        self._sender = Sender(
            ledger=ledger,
            keyring=keyring,
            clock=clock,
            publisher=publisher,
            config=config,
            agents=agents,
            concurrency=concurrency,
            refused_keys=self._refused_keys,
        )
        self._outboxes = Outboxes(client)
        self._announced = announced
        lease_text = bridge_lease_text(bridge_id, keyring)
        streams = [
            OutcomeStream(client, bridge_id, key=key, lease_text=lease_text)
            for key in keys.OUTCOME_STREAMS
        ]
        self._readers = [
            OutcomeReader(
                stream,
                self._sender.send,
                clock=clock,
                pause=self._refused_keys,
                agents=agents,
                limit_bytes=memory_bytes,
                counts=self._sender.counts,
            )
            for stream in streams
        ]

    @property
    def counts(self) -> Counter[str]:
        """Replies by what became of them."""
        return self._sender.counts

    @property
    def memory_bytes(self) -> int:
        """Bytes of the outcomes in memory, as they are in Redis."""
        return sum(reader.bytes for reader in self._readers)

    async def run(self) -> None:
        """Read, send and forget until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reader in self._readers:
                group.create_task(reader.run())
            group.create_task(self._give_back_forever())
            group.create_task(collect_forever(self._outboxes, self._announced))

    async def drain(self) -> None:
        """Read no more, and return when everything in hand is sent; the caller bounds the time."""
        await asyncio.gather(*(reader.drain() for reader in self._readers))

    async def leave(self) -> None:
        """Hand what is still unsent over to the other bridges."""
        for reader in self._readers:
            await reader.close()
        await asyncio.to_thread(self._readers[0].stream.leave)

    async def _give_back_forever(self) -> None:
        """Whenever cattle refuses all keys of this bridge, leave the replies to others and rest."""
        while True:
            await self._refused_keys.all_refused.wait()
            self._refused_keys.resting = True
            pause_s = self._refused_keys.next_pause_s()
            held = sum([await reader.give_back() for reader in self._readers])
            _log.error(
                "replies.handed_over",
                replies=held,
                pause_s=pause_s,
                advice="cattle refuses the keys of this bridge; check CATTLE_ACCESS_KEY and "
                "CATTLE_SECRET_KEY, or BRIDGE_AGENTS_FILE; other bridges send the replies",
            )
            self._sender.counts["given-back"] += held
            with suppress(redis.RedisError):
                await asyncio.to_thread(self._readers[0].stream.leave)
            await asyncio.sleep(pause_s)
            self._refused_keys.all_refused.clear()
            self._refused_keys.resting = False
