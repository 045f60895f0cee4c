"""Wire the parts of the bridge, run them, and shut down gracefully."""

import asyncio
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial

import redis

from bridge.agents.joining import Joining
from bridge.agents.registry import Agents
from bridge.agents.removals import Removals
from bridge.agents.streams import Streams
from bridge.awake import AwakeClock
from bridge.client import open_session, trusted
from bridge.container_events.posting import Poster
from bridge.container_events.reporting import ContainerEventReporting
from bridge.container_events.streams import ContainerEventStreams
from bridge.doorbell import Doorbell
from bridge.ending import end_in
from bridge.hosts.choice import Hosts
from bridge.hosts.claims import Claims
from bridge.hosts.forgetting import forget_forever
from bridge.hosts.presence import Presence
from bridge.hosts.sweeping import Sweeping
from bridge.hosts.watching import Watching
from bridge.inbound.intake import Intake
from bridge.inbound.pace import Pace
from bridge.inbound.standing import Standing
from bridge.inbound.stream import AgentStream
from bridge.introduction import Introduction
from bridge.metrics.own import OwnMetrics
from bridge.outbound.configcontent import ConfigContent
from bridge.outbound.outbox import Outbox
from bridge.outbound.publisher import Publisher
from bridge.resealing import reseal_forever
from bridge.settings import BridgeSettings
from bridge.web.readiness import Readiness
from bridge.web.server import serving
from bridge.web.wiring import web_routes
from bridge.websockets import Websockets
from cowpoke.broker import connect, probe
from cowpoke.clock import Clock
from cowpoke.ledger.due import BridgeSweeper
from cowpoke.ledger.intake import IntakeLedger
from cowpoke.ledger.replies import ReplyLedger
from cowpoke.ledger.resealing import Resealing
from cowpoke.log import logger
from cowpoke.overview.trouble import probe_writes
from cowpoke.seal import ClusterKeyring

_log = logger(__name__)

REDIS_THREADS = 32
MEGABYTE = 1024 * 1024
#: Time besides the drain to leave cattle and Redis.
LEAVE_S = 4.0
#: Time to tell Redis that this bridge leaves.
LAST_WORD_S = 1.5
#: Time to end after everything is done: a thread may still wait for a frozen Redis.
END_S = 1.0
#: How long to wait for the notes of joined hosts before a bridge says that it is ready.
KNOWN_WITHIN_S = 5.0
KNOWN_POLL_S = 0.05
#: Between two tries to reach Redis at start.
RETRY_S = 0.5


async def run(settings: BridgeSettings) -> None:
    """Run until SIGTERM or SIGINT: stop reading, publish what is done, leave."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Calls that wait for an absent Redis must not keep all others waiting: the default is few.
    loop.set_default_executor(ThreadPoolExecutor(REDIS_THREADS, thread_name_prefix="redis"))
    client = connect(settings)
    keyring = settings.cluster_keyring()
    redis_clock = Clock(client)
    bridge_id = uuid.uuid4().hex[:16]
    agents = Agents(settings.agents, known=False)
    standing = Standing(settings.agents)
    removals = Removals(client, keyring, agents)
    context = trusted(settings.ca_bundle)
    doorbell = Doorbell(client)
    presence = Presence(client, keyring)
    reports = Websockets(client, keyring, bridge_id, standing=standing, clock=redis_clock)
    sweeping = Sweeping(BridgeSweeper(client, keyring, redis_clock))
    async with AsyncExitStack() as stack:
        introduction = stack.enter_context(
            Introduction(bridge_id, keyring, redis_clock, server=settings.cattle_url)
        )
        clock = await stack.enter_async_context(AwakeClock())
        session = await stack.enter_async_context(
            open_session(context, settings.proxy, tunnel=settings.cattle_url.startswith("https"))
        )
        websockets = await stack.enter_async_context(
            open_session(context, settings.proxy, tunnel=True)
        )
        intake = Intake(
            IntakeLedger(client, keyring, redis_clock),
            knows_event=presence.knows_event,
            limit=settings.intake_limit,
            limit_bytes=settings.intake_memory_mb * MEGABYTE,
        )
        hosts = Hosts(
            presence,
            settings.agents,
            claims=Claims(client, keyring.bridge),
            standing=standing,
            clock=clock,
        )
        outbox = Outbox(
            client=client,
            ledger=ReplyLedger(client, bridge_id),
            keyring=keyring,
            clock=redis_clock,
            publisher=Publisher(session, settings.cattle_url, clock=clock, standing=standing),
            config=ConfigContent(session, settings.cattle_url, clock=clock),
            agents=agents,
            concurrency=settings.publish_concurrency,
            memory_bytes=settings.outbox_memory_mb * MEGABYTE,
            bridge_id=bridge_id,
            announced=doorbell.outboxes,
            history_events=settings.history_events,
            lease_text=introduction.text,
        )
        reporting = ContainerEventReporting(
            ContainerEventStreams(client, bridge_id),
            keyring,
            redis_clock,
            poster=Poster(session, settings.cattle_url, clock=clock),
            announced=doorbell.container_events,
            agent_of=hosts.reporter_of,
        )
        pace = Pace(agents.__len__)
        streams = Streams(
            lambda agent: AgentStream(
                settings,
                agent,
                session=websockets,
                wake_session=session,
                hosts=hosts,
                standing=standing,
                removals=removals,
                clock=clock,
                pace=pace,
                handle=intake.take_frame,
            )
        )
        joining = Joining(
            client,
            keyring,
            cattle_url=settings.cattle_url,
            agents=agents,
            hosts=hosts,
            standing=standing,
            streams=streams,
            removals=removals,
            clock=clock,
        )
        watching = Watching(
            client,
            keyring,
            bridge_id,
            doorbell=doorbell,
            presence=presence,
            hosts=hosts,
            sweep=sweeping.add,
            joining=joining,
        )
        # Before any subscription: a bridge that cannot listen leaves without taking an event.
        routes = web_routes(
            settings,
            keyring,
            bridge_id,
            readiness=Readiness(
                partial(probe_writes, settings),
                standing=standing,
                hosts_known=watching.has_looked,
                is_stopping=stop.is_set,
            ),
            own=OwnMetrics(
                {
                    "events": intake.counts,
                    "replies": outbox.counts,
                    "swept": sweeping.counts,
                    "container_events": reporting.counts,
                    "container_events_refused": reporting.refused,
                },
                agents=agents,
                unused=joining.unused,
                standing=standing,
                presence=presence,
                keyring=keyring,
            ),
            finished=outbox.finished,
        )
        await stack.enter_async_context(serving(settings, routes))
        doorbell.start()
        stack.callback(doorbell.stop)
        for agent in settings.agents:
            streams.start(agent)
        listening = asyncio.create_task(streams.run())
        background = [
            asyncio.create_task(intake.run()),
            asyncio.create_task(outbox.run()),
            asyncio.create_task(watching.run()),
            asyncio.create_task(sweeping.run(outbox.tell_over)),
            asyncio.create_task(reporting.run()),
            asyncio.create_task(removals.run()),
            asyncio.create_task(reports.run()),
            asyncio.create_task(forget_forever(client, presence)),
            asyncio.create_task(reseal_forever(Resealing(client, keyring))),
        ]
        saying = asyncio.create_task(_say_ready(settings, agents, bridge_id, keyring))
        await _until(stop, [listening, *background])
        _log.info("bridge.stopping")
        end_in(settings.drain_timeout_s + LEAVE_S)
        await _cancel([saying, listening])
        await streams.close()
        await _finish(intake, outbox, settings.drain_timeout_s)
        # Before the lease is given up: it must not be renewed again.
        await _cancel(background)
        await _leave(outbox, reports)
    _log.info("bridge.stopped", intake=dict(intake.counts), outbox=dict(outbox.counts))
    end_in(END_S)


async def _say_ready(
    settings: BridgeSettings, agents: Agents, bridge_id: str, keyring: ClusterKeyring
) -> None:
    """Log that the bridge is ready once Redis has answered, and before that, once, why not."""
    waiting = False
    while True:
        try:
            await asyncio.to_thread(probe, settings)
        except redis.RedisError as problem:
            if not waiting:
                _log.warning(
                    "bridge.redis_unavailable",
                    reason=str(problem),
                    advice="events wait until Redis answers",
                )
            waiting = True
            await asyncio.sleep(RETRY_S)
        else:
            # The hosts that joined before count too; their notes are read with the leases.
            ends_s = time.monotonic() + KNOWN_WITHIN_S
            while not agents.known and time.monotonic() < ends_s:  # noqa: ASYNC110
                await asyncio.sleep(KNOWN_POLL_S)
            _log.info(
                "bridge.ready",
                agents=len(agents),
                bridge=bridge_id,
                fingerprints=keyring.fingerprints,
            )
            if not agents:
                _log.warning(
                    "bridge.without_agents",
                    advice="no agent is in the settings and no host has joined; on a host: "
                    "cowpoke join",
                )
            return


async def _until(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Wait for the signal; a part that ended by itself is a defect and ends the bridge loudly."""
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    for task in done - {stopping}:
        await task


async def _finish(intake: Intake, outbox: Outbox, within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            await intake.flush()
            await outbox.drain()
    except TimeoutError:
        _log.warning("bridge.drain_timed_out", advice="another bridge sends the remaining outcomes")


async def _leave(outbox: Outbox, reports: Websockets) -> None:
    try:
        async with asyncio.timeout(LAST_WORD_S):
            await outbox.leave()
            await reports.leave()
    except (redis.RedisError, TimeoutError) as problem:
        _log.warning("bridge.lease_release_failed", reason=str(problem) or "Redis does not answer")


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
