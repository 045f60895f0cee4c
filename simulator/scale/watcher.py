"""A bridge without cattle: it follows leases, sweeps events and collects outcomes, and that is all.

    python -m simulator.scale.watcher

The parts are those of `bridge.service`, on the same settings of Redis and keys. What is left out
needs a websocket per host: it costs the same with and without workers.
"""

from __future__ import annotations

import asyncio
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import click
from pydantic import Field, SecretStr

from bridge.awake import AwakeClock
from bridge.doorbell import Doorbell
from bridge.hosts.choice import Hosts
from bridge.hosts.claims import Claims
from bridge.hosts.forgetting import forget_forever
from bridge.hosts.presence import Presence
from bridge.hosts.sweeping import Sweeping
from bridge.hosts.watching import Watching
from bridge.inbound.standing import Standing
from bridge.outbound.collecting import collect_forever
from bridge.service import REDIS_THREADS
from bridge.settings import AgentKeys
from cowpoke import log
from cowpoke.broker import connect
from cowpoke.clock import Clock
from cowpoke.environment import read
from cowpoke.ledger.due import BridgeSweeper
from cowpoke.ledger.outbox import Outboxes
from cowpoke.settings import BrokerSettings
from simulator.scale.fleet import host_name

_log = log.logger(__name__)

_POLL_S = 0.2


class WatcherSettings(BrokerSettings):
    """The broker, and how many hosts there are."""

    hosts: int = Field(validation_alias="SCALE_HOSTS", ge=1)


async def run(settings: WatcherSettings) -> None:
    """Run until SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.set_default_executor(ThreadPoolExecutor(REDIS_THREADS, thread_name_prefix="redis"))
    client = connect(settings)
    keyring = settings.cluster_keyring()
    agents = tuple(
        AgentKeys(
            access_key=f"agent-{number}",
            secret_key=SecretStr("not-used"),
            host_uuid=host_name(number),
        )
        for number in range(settings.hosts)
    )
    standing = Standing(agents)
    doorbell = Doorbell(client)
    presence = Presence(client, keyring)
    sweeping = Sweeping(BridgeSweeper(client, keyring, Clock(client)))
    async with AsyncExitStack() as stack:
        clock = await stack.enter_async_context(AwakeClock())
        hosts = Hosts(
            presence,
            agents,
            claims=Claims(client, keyring.bridge),
            standing=standing,
            clock=clock,
        )
        watching = Watching(
            client,
            keyring,
            uuid.uuid4().hex[:16],
            doorbell=doorbell,
            presence=presence,
            hosts=hosts,
            sweep=sweeping.add,
        )
        doorbell.start()
        stack.callback(doorbell.stop)
        tasks = [
            asyncio.create_task(watching.run()),
            asyncio.create_task(sweeping.run()),
            asyncio.create_task(collect_forever(Outboxes(client), doorbell.outboxes)),
            asyncio.create_task(forget_forever(client, presence)),
        ]
        while len(presence.alive()) < settings.hosts and not stop.is_set():  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
        _log.info("watcher.ready", hosts=settings.hosts)
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@click.command()
def main() -> None:
    """Do what a bridge does for hosts at rest, without cattle, until SIGTERM."""
    log.set_up_program()
    asyncio.run(run(read(WatcherSettings)))


if __name__ == "__main__":
    main()
