"""Instances in managed networks, which the plugin-manager stand-in connects."""

import time
import uuid
from collections.abc import Callable
from typing import Any

from simulator.plugin_manager.manager import LATE_LABEL, MODE_LABEL
from tests.factories import nic
from tests.hosts import TestHost
from worker.errors import NotYetError

ADDRESS = "10.42.1.2"
#: A network without subnets: cattle knows no address before the reply.
WITHOUT_SUBNET = {"ipAddresses": []}


def managed(
    new_instance: Callable[..., Any],
    fields: dict[str, Any] | None = None,
    *,
    mode: str | None = None,
    late_s: float | None = None,
    card: dict[str, Any] | None = None,
    **changes: Any,
) -> Any:
    """Make an instance in a managed network, which the stand-in treats as the labels say."""
    fields = fields or {}
    wanted = {MODE_LABEL: mode, LATE_LABEL: late_s}
    labels = {name: str(value) for name, value in wanted.items() if value is not None}
    labelled = {**fields, "labels": {**fields.get("labels", {}), **labels}}
    return new_instance(labelled, nics=[nic("cni", **(card or {}))], **changes)


def activated(host: TestHost, data: Any, *, within_s: float = 30) -> dict[str, Any]:
    """Run an activate as the queue does: again while it waits. Return the report's instance."""
    deadline_s = time.monotonic() + within_s
    event_id = str(uuid.uuid4())
    while True:
        try:
            reply = host.run("compute.instance.activate", data, event_id=event_id)
        except NotYetError as waiting:
            if time.monotonic() >= deadline_s:
                raise
            time.sleep(waiting.retry_in_s)
        else:
            instance: dict[str, Any] = reply["instanceHostMap"]["instance"]
            return instance
