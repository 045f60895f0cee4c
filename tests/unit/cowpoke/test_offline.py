"""How an event ends whose host has no worker: by its name and the count of starts."""

import pytest

from cowpoke.events import Event
from cowpoke.offline import Offline, offline_end
from cowpoke.routes import LANES

ACTIVATE = "compute.instance.activate"


def end_of(name=ACTIVATE, data=None):
    """The end of an event with this name and data."""
    return offline_end(Event.model_validate({"id": "e1", "name": name, "data": data}))


def start(**instance):
    """The data of an activate of this instance."""
    return {"instanceHostMap": {"instance": instance}}


def test_first_start_ends_with_an_error():
    """W 4: cattle removes such an instance silently after a timeout while its agent reconnects."""
    assert end_of(data=start(startCount=0)) is Offline.ERROR
    assert end_of(f"{ACTIVATE};agent=2", start(startCount=0)) is Offline.ERROR


@pytest.mark.parametrize(
    "data",
    [
        start(startCount=1),
        start(startCount=4),
        start(startCount=None),
        start(startCount=False),
        start(startCount="0"),
        start(startCount=0.0),
        start(),
        {},
        {"instanceHostMap": None},
        {"instanceHostMap": {"instance": [0]}},
        # The recordings have the count of other instances beside the one that is started.
        start(startCount=2, volumes=[{"instance": {"startCount": 0}}]),
        start(networkContainer={"startCount": 0}),
    ],
)
def test_start_that_is_not_certainly_the_first_expires(data):
    """W 4: cattle replays a later start; without a count an error would be the greater harm."""
    assert end_of(data=data) is Offline.EXPIRE


@pytest.mark.parametrize("name", sorted({*LANES} - {ACTIVATE}))
def test_other_events_expire(name):
    """W 4: cattle replays them, repeats them, or waits for no answer."""
    assert end_of(name, start(startCount=0)) is Offline.EXPIRE


@pytest.mark.parametrize(
    ("inner", "end"),
    [
        ({"name": ACTIVATE, "data": start(startCount=0)}, Offline.ERROR),
        ({"name": f"{ACTIVATE};agent=5", "data": start(startCount=0)}, Offline.ERROR),
        ({"name": ACTIVATE, "data": start(startCount=3)}, Offline.EXPIRE),
        ({"name": "ping"}, Offline.EXPIRE),
        ({"name": None, "data": None}, Offline.EXPIRE),
        ("text", Offline.EXPIRE),
        (None, Offline.EXPIRE),
    ],
)
def test_delegated_event_ends_as_the_event_inside(inner, end):
    """W 4: cattle's process waits for the event inside."""
    assert end_of("delegate.request", {"event": inner}) is end
