"""An event as cattle sends it: what is read, what is ignored, what is refused."""

import pytest
from pydantic import ValidationError

from cowpoke.events import DEFAULT_TIMEOUT_MS, MOST_TIMEOUT_MS, Event


def event(**fields):
    """An event with the given cattle fields."""
    return Event.model_validate({"id": "e1", "name": "ping", **fields})


def test_reads_the_fields_of_cattle():
    """The camelCase fields of a frame become the event's."""
    read = event(replyTo="reply.1", resourceType="agent", resourceId="1a5", data={"a": 1})
    assert (read.reply_to, read.resource_type, read.resource_id, read.data) == (
        "reply.1",
        "agent",
        "1a5",
        {"a": 1},
    )


def test_ignores_what_it_does_not_know():
    """Keys that newer servers add do no harm (A 1.15)."""
    assert event(context={"processId": "64"}, publisher=None) == event()


def test_takes_explicit_nulls_for_absent():
    """Older servers send every key, null or not."""
    nulls = dict.fromkeys(("replyTo", "resourceType", "resourceId", "data", "time"))
    assert event(**nulls, timeoutMillis=None) == event()


@pytest.mark.parametrize("name", ["ping", "ping;agent=5", "ping;agent=5;x=1"])
def test_base_name_is_without_the_suffix(name):
    """The name of the task is the event's without its subscription suffix (A 1.4)."""
    assert event(name=name).base_name == "ping"


@pytest.mark.parametrize(
    ("given", "timeout_ms"),
    [
        (None, DEFAULT_TIMEOUT_MS),
        (0, DEFAULT_TIMEOUT_MS),
        (2000, 2000),
        (10**30, MOST_TIMEOUT_MS),
    ],
)
def test_timeout_has_a_default_and_a_limit(given, timeout_ms):
    """What an event does not say is cattle's default; what it exaggerates is cut."""
    assert event(timeoutMillis=given).timeout_ms == timeout_ms


@pytest.mark.parametrize(
    ("fields", "resource"),
    [
        ({"resourceType": "volume", "resourceId": "1v3"}, "volume:1v3"),
        ({"resourceType": "instanceInspect"}, "instanceInspect"),
        ({}, "-"),
    ],
)
def test_resource_is_for_people(fields, resource):
    """The resource is named as people and logs name it."""
    assert event(**fields).resource == resource


@pytest.mark.parametrize(
    "fields",
    [
        {"id": ""},
        {"id": "x" * 257},
        {"id": 5},
        {"name": ""},
        {"data": [1]},
        {"timeoutMillis": -1},
        {"replyTo": "\ud800"},
        {"resourceId": "\udfff"},
        {"resourceType": "a\ud800"},
        {"id": "\ud800"},
    ],
)
def test_refuses_what_cannot_be_an_event(fields):
    """An id that is none, data that are no object, and text that no wire can carry are refused."""
    with pytest.raises(ValidationError):
        event(**fields)
