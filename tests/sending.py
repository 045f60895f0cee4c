"""The way out of a bridge: it collects, sends to a cattle on loopback, and acknowledges."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from bridge.agents.registry import Agents
from bridge.awake import AwakeClock
from bridge.client import open_session
from bridge.doorbell import Announcements
from bridge.inbound.standing import Standing
from bridge.outbound.configcontent import ConfigContent
from bridge.outbound.outbox import Outbox
from bridge.outbound.publisher import Publisher
from bridge.settings import AgentKeys
from cowpoke.clock import Clock
from cowpoke.ledger.replies import ReplyLedger
from simulator.rig.processes import wait_until
from tests.answering import NO_TLS, answering

AGENT = AgentKeys(access_key="access", secret_key="secret")
WITHIN_S = 30.0


@dataclass
class Bridge:
    """One bridge's way out, and what cattle got."""

    outbox: Outbox
    announced: Announcements
    #: The bodies of the POSTs, in their order.
    posted: list = field(default_factory=list)

    @property
    def counts(self):
        """Replies by what became of them."""
        return self.outbox.counts

    def answered(self):
        """How often each event was answered."""
        return Counter(body["previousIds"][0] for body in self.posted)

    async def until(self, condition):
        """Wait for a condition."""
        await asyncio.to_thread(wait_until, condition, WITHIN_S, "the condition of the test")


@asynccontextmanager
async def bridge_out(client, keyring, bridge_id="b1", *, status=201, **options):
    """Run a bridge's way out to a cattle that answers every POST with a status."""
    posted = []

    async def handle(request):
        posted.append(await request.json())
        return web.Response(status=status)

    async with (
        answering(handle) as url,
        AwakeClock() as clock,
        open_session(NO_TLS) as session,
    ):
        announced = Announcements()
        outbox = Outbox(
            client=client,
            ledger=ReplyLedger(client, bridge_id),
            keyring=keyring,
            clock=Clock(client),
            publisher=Publisher(session, url, clock=clock, standing=Standing((AGENT,))),
            config=ConfigContent(session, url, clock=clock),
            agents=Agents((AGENT,)),
            concurrency=4,
            memory_bytes=1 << 24,
            bridge_id=bridge_id,
            announced=announced,
            **options,
        )
        task = asyncio.create_task(outbox.run())
        try:
            yield Bridge(outbox, announced, posted)
        finally:
            await asyncio.wait_for(outbox.drain(), WITHIN_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            # A blocking read goes on in its thread; the client must not be closed below it.
            in_use = client.connection_pool._in_use_connections
            await asyncio.to_thread(wait_until, lambda: not in_use, WITHIN_S, "the last calls")
