"""Another container is gone that an instance is to share something with, on the real Engine.

Row numbers (W) refer to docs/parity.md.
"""

import time
import uuid

import pytest

from tests import factories
from worker.errors import EngineError, RetryableError

ACTIVATE = "compute.instance.activate"
DEACTIVATE = "compute.instance.deactivate"


def gone():
    """A container that is not on this host."""
    return {"uuid": str(uuid.uuid4()), "name": f"gone-{uuid.uuid4().hex[:8]}"}


def link_to(target):
    """A link of a container without a link service."""
    return factories.link("db", (80, "tcp"), targetInstance=target)


CASES = {
    "network": lambda other: {
        "nics": [factories.nic("dockerContainer")],
        "networkContainer": other,
    },
    "links": lambda other: {"instanceLinks": [link_to(other)]},
    "ipc": lambda other: {"fields": {"ipcMode": f"container:{other['name']}"}},
    "pid": lambda other: {"fields": {"pidMode": f"container:{other['name']}"}},
}


@pytest.mark.parametrize("what", CASES)
def test_start_without_the_other_container_is_an_error_at_once(
    host, new_instance, containers_of, what
):
    """The Engine's words name the other one, and nothing is left over (W 17)."""
    changes = CASES[what](gone())
    data = new_instance(changes.pop("fields", None), **changes)
    began_s = time.monotonic()
    with pytest.raises(
        EngineError, match=r"(?i)no such container|could not get container"
    ) as found:
        host.run(ACTIVATE, data)
    assert not isinstance(found.value, RetryableError)
    assert time.monotonic() - began_s < 10
    assert containers_of(data) == []


def test_start_beside_a_stopped_container_is_an_error_at_once(host, new_instance, containers_of):
    """There, but without a network to share (W 17)."""
    main = new_instance()
    host.run(ACTIVATE, main)
    host.run(DEACTIVATE, {**main, "processData": {"timeout": 0}})
    instance = main["instanceHostMap"]["instance"]
    other = {"uuid": instance["uuid"], "name": instance["name"]}
    data = new_instance(nics=[factories.nic("dockerContainer")], networkContainer=other)
    with pytest.raises(EngineError, match=r"(?i)running") as found:
        host.run(ACTIVATE, data)
    assert not isinstance(found.value, RetryableError)
    assert containers_of(data) == []
