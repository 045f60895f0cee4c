"""/publish: what is refused, and with which of cattle's errors."""

from __future__ import annotations

import pytest


@pytest.fixture
def status_of(run, cattle):
    """`status_of(body)`: status and answer of one post."""

    def publish(body, cattle_settings=None, **options):
        async def scenario():
            async with cattle(**(cattle_settings or {})) as (_, agent):
                return await agent.publish(body, **options)

        return run(scenario())

    return publish


@pytest.mark.parametrize("version", ["v1", "v2-beta"])
def test_unknown_replies_are_201(status_of, version):
    """W 9: 201 means "on the bus", also for a reply nobody waits for; the body is empty."""
    body = {"name": "reply.1", "previousIds": ["x"], "replyTo": "dropped", "data": {"a": 1}}
    assert status_of(body, version=version) == (201, "")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b'"text"'])
def test_a_body_that_is_no_object_is_400(status_of, raw):
    """Bad JSON is InvalidBodyContent."""
    status, error = status_of(raw)
    assert (status, error["code"]) == (400, "InvalidBodyContent")


@pytest.mark.parametrize(
    "field", ["name", "previousIds", "id", "time", "publisher", "transitioning"]
)
def test_an_explicit_null_is_422(status_of, field):
    """Fields that may be absent may still not be null."""
    status, error = status_of({"name": "reply.1", "previousIds": ["x"], field: None})
    assert (status, error["code"], error["fieldName"]) == (422, "NotNullable", field)


@pytest.mark.parametrize("field", ["data", "resourceId", "resourceType", "transitioningMessage"])
def test_nullable_fields_may_be_null(status_of, field):
    """The payload and the messages may be null."""
    assert status_of({"name": "reply.1", "previousIds": ["x"], field: None})[0] == 201


def test_a_missing_name_is_422(status_of):
    """Without a name there is no address."""
    status, error = status_of({"previousIds": ["x"]})
    assert (status, error["code"], error["fieldName"]) == (422, "MissingRequired", "name")


LUCK = [
    {"transitioningProgress": 1.5},
    {"time": 1795726305367.25},
    {"previousIds": "x"},
    {"transitioning": "perhaps"},
]


@pytest.mark.parametrize("changes", LUCK)
def test_odd_fields_are_201_as_recorded(status_of, changes):
    """W 9: cattle takes fractions, a text as previousIds and any word in transitioning."""
    assert status_of({"name": "reply.1", "previousIds": ["x"], **changes}) == (201, "")


@pytest.mark.parametrize("changes", [*LUCK, {"previousIds": [1]}])
def test_odd_fields_are_422_where_strict(status_of, changes):
    """W 9: the option guards what the bridge sends."""
    body = {"name": "reply.1", "previousIds": ["x"], **changes}
    status, error = status_of(body, {"strict_publish": True})
    assert (status, error["fieldName"]) == (422, next(iter(changes)))


@pytest.mark.parametrize("number", ["soon", True, []])
def test_what_is_no_number_is_422(status_of, number):
    """A number's format is checked."""
    status, error = status_of({"name": "reply.1", "transitioningProgress": number})
    assert (status, error["code"]) == (422, "InvalidFormat")


def test_an_agent_publishes_replies_only(status_of):
    """Any other name is 403 for an agent."""
    assert status_of({"name": "compute.instance.force.stop.reply"})[0] == 403


def test_a_service_publishes_anything(status_of, spec):
    """A RAW account may publish any name."""
    specs = {"agents": (spec("svc", "t", kind="service"),)}
    assert status_of({"name": "ping.reply"}, specs, auth=("svc", "t"))[0] == 201


@pytest.mark.parametrize("auth", [None, ("k", "x"), ("y", "s")])
def test_bad_keys_are_401(status_of, auth):
    """Neither missing nor wrong keys publish."""
    status, error = status_of({"name": "reply.1"}, auth=auth)
    assert (status, error["type"], error["status"]) == (401, "error", 401)


def test_a_malformed_authorization_is_401(status_of):
    """A header that is no Basic auth is as good as none."""
    header = {"Authorization": "Basic !!!"}
    assert status_of({"name": "reply.1"}, auth=None, headers=header)[0] == 401


def test_security_off_accepts_anybody(status_of):
    """With security off bad keys publish as admin."""
    assert status_of({"name": "reply.1"}, {"security_enabled": False}, auth=None)[0] == 201
