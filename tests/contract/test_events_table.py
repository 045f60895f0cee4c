"""The one table of events: what is in it can be asked for, nothing else can."""

import json

import pytest

from bridge.inbound.decode import decode
from cowpoke.routes import LANES, Lane
from tests import factories
from worker.app import app
from worker.operations import OPERATIONS
from worker.process.received import UNKNOWN_EVENT

EVENTS = [
    "ping",
    "compute.instance.activate",
    "compute.instance.deactivate",
    "compute.instance.remove",
    "compute.instance.force.stop",
    "compute.instance.inspect",
    "compute.instance.pull",
    "storage.image.activate",
    "storage.volume.activate",
    "storage.volume.deactivate",
    "storage.volume.remove",
    "volume.remove",
    "config.update",
    "delegate.request",
]


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_has_a_lane_an_operation_and_a_task_of_its_name(name):
    """What the bridge accepts, a worker can do (A 1.1, 1.11)."""
    assert name in LANES
    assert name in OPERATIONS
    assert app.tasks[name].name == name


def test_nothing_else_can_be_asked_for():
    """No name reaches anything but these operations (A 1.14)."""
    assert sorted(EVENTS) == sorted(LANES) == sorted(OPERATIONS)
    ours = {name for name in app.tasks if not name.startswith("celery.")}
    assert ours == {*EVENTS, UNKNOWN_EVENT}


def test_an_event_is_routed_by_its_exact_name():
    """`ping` in a payload or within a name makes no ping (A 1.6)."""
    frame = json.dumps(factories.event(data={"name": "ping", "text": '"ping"'}))
    event = decode(frame)
    assert event is not None
    assert LANES[event.base_name] is Lane.COMPUTE
    other = decode(json.dumps(factories.event(name="shipping")))
    assert other is not None
    assert other.base_name not in LANES
