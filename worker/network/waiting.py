"""Wait for the address of a started container in a managed network, without holding a slot.

Row numbers (B) refer to docs/parity.md.
"""

import time
from dataclasses import dataclass

from cowpoke.log import logger
from worker import deadline
from worker.container import Container, engine_time
from worker.create.labels import CNI_NETWORK
from worker.engine import containers
from worker.engine.client import Engine
from worker.errors import NetworkFailedError, NotYetError
from worker.network.addresses import Found, look_up
from worker.network.settings import NetworkSettings
from worker.payload import KnownInstance

_log = logger(__name__)

_RETRY_FIRST_S = 0.25
_RETRY_MOST_S = 2.0
#: With less time left for the event, the address is not awaited any more: the reply needs the rest.
_LAST_LOOK_S = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Connected:
    """A container in the state for the reply, and its address in the managed network."""

    container: Container | None
    address: str | None = None


def connected(
    container: Container | None, instance: KnownInstance, engine: Engine, settings: NetworkSettings
) -> Connected:
    """Return the container with its address in a managed network, if it is in one and runs.

    A container that ended meanwhile is returned as it is now. The end of the wait is an error on a
    network without subnets only: cattle chose the address on the others. An event that changes
    nothing never fails.
    Errors: NotYetError while the address may still come; NetworkFailedError; EngineError.
    Source: B.2.
    """
    network = container.labels.get(CNI_NETWORK) if container is not None else None
    # The Engine waits before it restarts the container if there is no process.
    is_between = container is not None and container.state.get("Pid") == 0
    if container is None or not network or not container.is_running or is_between:
        return Connected(container=container)
    found = look_up(container, settings.network_state_dir)
    if found.address is not None:
        return Connected(container=container, address=found.address)
    is_no_op = bool(instance.process.is_no_op)
    is_expected = instance.primary_address is None or not is_no_op
    if found.problem is None and is_expected:
        _wait(container, network, settings.network_address_wait_s)
    now = containers.inspect(engine, container.id)
    if now is None or not now.is_running:
        return Connected(container=now)
    if now.state.get("StartedAt") != container.state.get("StartedAt"):
        # The Engine restarted it meanwhile: what was found is about the start before.
        _wait(now, network, settings.network_address_wait_s)
    _report(now, network, found, instance, settings)
    return Connected(container=now)


def _wait(container: Container, network: str, wait_s: float) -> None:
    """Raise NotYetError while there is time; sooner again after a recent start."""
    started = engine_time(container.state.get("StartedAt"))
    # A clock that was set back ends the wait by the deadline of the event.
    waited_s = 0.0 if started is None else max(0.0, time.time() - started.timestamp())
    left_s = min(wait_s - waited_s, deadline.left_s() - _LAST_LOOK_S)
    if left_s > 0:
        retry_in_s = min(max(waited_s, _RETRY_FIRST_S), _RETRY_MOST_S, max(left_s, _RETRY_FIRST_S))
        raise NotYetError(
            f"container {container.short_id} has no address in network {network} yet", retry_in_s
        )


def _report(
    container: Container,
    network: str,
    found: Found,
    instance: KnownInstance,
    settings: NetworkSettings,
) -> None:
    """Log or raise that the container has no address."""
    has_subnet = instance.primary_address is not None
    reason = found.problem or (
        f"Timeout getting IP address: network {network} gave it none within "
        f"{settings.network_address_wait_s:g} s; check the network services of Rancher on this host"
    )
    if instance.process.is_no_op or (found.problem is None and has_subnet):
        _log.warning(
            "network.not_connected",
            container_id=container.short_id,
            network=network,
            reason=reason,
        )
        return
    raise NetworkFailedError(f"container {container.short_id} has no network: {reason}")
