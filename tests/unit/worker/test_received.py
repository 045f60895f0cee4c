"""What is read of an item of a queue, and of a remote-control message, whoever wrote it."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile_messages import NAME, QUEUE, UNREADABLE, as_item, command, encoded, ours
from worker.process import received
from worker.process.received import UnreadableMessageError, command_message

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REPLY_TO = {"exchange": received.REPLY_EXCHANGE, "routing_key": "an-address"}


def read(message):
    """What Celery is given for a message."""
    return received.task_message(as_item(message), queue=QUEUE, names={NAME, "ping"}, now=NOW)


def without_tag(message):
    """A message without what is new in each."""
    message["properties"].pop("delivery_tag")
    message["headers"].pop("origin")
    return message


def heard(message):
    """The command that a worker gets of a message."""
    return json.loads(base64.b64decode(command_message(json.dumps(message).encode())["body"]))


def test_message_of_the_ledger_is_passed_on_as_it_is():
    """All but its delivery tag, which is new."""
    given_tag = ours()["properties"]["delivery_tag"]
    message = read(ours())
    assert message["properties"]["delivery_tag"] != given_tag
    assert without_tag(message) == without_tag(ours())


@pytest.mark.parametrize("name", ["celery.backend_cleanup", "compute.instance.migrate"])
def test_a_task_of_another_name_is_of_an_unknown_event(name):
    """A later release may know it, so the event is left to a worker that does."""
    assert read(ours(task=name))["headers"]["task"] == received.UNKNOWN_EVENT


@pytest.mark.parametrize(
    "forged",
    [
        {"ignore_result": True},
        {"expires": "2001-01-01T00:00:00"},
        {"timelimit": [0.001, 0.001]},
        {"shadow": "another.name"},
        {"group": "g", "group_index": 3},
        {"root_id": "other", "parent_id": "other"},
        {"replaced_task_nesting": 10**6},
        {"stamped_headers": ["a"], "stamps": {"a": "b"}},
        {"eta": "never"},
        {"eta": 4},
        {"eta": "0001-01-01T00:00:00+14:00"},
        {"eta": "2001-01-01T00:00:00"},
        {"retries": -3},
        {"retries": "9"},
        {"retries": 1e9},
        {"compression": "application/x-gzip"},
        {"kwargsrepr": "x" * 10_000},
        {"a header of a later version": {"x": 1}},
    ],
    ids=str,
)
def test_forged_header_has_no_effect(forged):
    """Event id and task name decide, and nothing else."""
    assert without_tag(read(ours(**forged))) == without_tag(ours())


def test_forged_properties_and_callbacks_have_no_effect():
    """Where an answer goes, what follows a task and which message it is, is not the sender's."""
    message = ours()
    message["properties"].update(
        reply_to="elsewhere", correlation_id="other", priority=9, delivery_info={"exchange": "x"}
    )
    follow_up = [{"task": "ping", "args": []}]
    message["body"] = encoded([["e1"], {}, {"callbacks": follow_up, "chord": follow_up[0]}])
    assert without_tag(read(message)) == without_tag(ours())


def test_retry_of_ours_keeps_its_number_and_its_time():
    """Celery sends it with the headers `retries` and `eta`."""
    due = NOW + timedelta(seconds=12)
    headers = read(ours(retries=4, eta=due.isoformat()))["headers"]
    assert (headers["retries"], headers["eta"]) == (4, due.isoformat())


def test_retry_is_never_far_away():
    """A forged or a wrong time delays an event by some seconds at most."""
    headers = read(ours(retries=10**9, eta="9999-12-31T23:59:59+00:00"))["headers"]
    latest = NOW + timedelta(seconds=received.MOST_DELAY_S)
    assert (headers["retries"], headers["eta"]) == (received.MOST_RETRIES, latest.isoformat())


@pytest.mark.parametrize("message", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_item_that_is_no_message_of_ours_is_refused(message):
    """With a reason, and with no other exception."""
    with pytest.raises(UnreadableMessageError, match=r"^its? "):
        read(message)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(
    field=st.sampled_from(["headers", "properties", "body", "content-type", "content-encoding"]),
    value=ANY_JSON,
)
def test_any_field_may_hold_anything(field, value):
    """It is read or refused."""
    message = {**ours(), field: value}
    for reader in (read, lambda one: command_message(json.dumps(one).encode())):
        try:
            reader(message)
        except UnreadableMessageError:
            continue


@given(header=st.sampled_from(sorted(ours()["headers"])), value=ANY_JSON)
def test_any_header_may_hold_anything(header, value):
    """It is read or refused; of what is read, Celery can make a message."""
    try:
        json.dumps(read(ours(**{header: value}))).encode()
    except UnreadableMessageError:
        return


@given(st.binary())
def test_any_bytes_are_refused(content):
    """No chance makes a message."""
    for reader in (read, command_message):
        with pytest.raises(UnreadableMessageError):
            reader(content)


def test_command_is_passed_on():
    """With the address and the ticket of whoever waits for the answer."""
    body = {"destination": ["a@b"], "reply_to": REPLY_TO, "ticket": "t", "arguments": {"x": [1]}}
    assert heard(command(**body)) == {"method": "ping", **body}
    assert command_message(json.dumps(command()).encode())["headers"] == {"clock": 7}


def test_command_may_name_workers_by_a_glob():
    """A regular expression of anybody's is not matched: it may take for ever."""
    assert heard(command(pattern="a*", matcher="glob"))["pattern"] == "a*"
    with pytest.raises(UnreadableMessageError):
        heard(command(pattern="(a+)+$", matcher="pcre"))


def nested(depth):
    """An object in an object in an object."""
    value = {}
    for _ in range(depth):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize(
    "body",
    [
        {"method": None},
        {"method": ["ping"]},
        {"method": "p" * 1000},
        {"arguments": "x"},
        {"arguments": nested(50)},
        {"arguments": {"a": {"__type__": "datetime", "__value__": "x"}}},
        {"arguments": {"__type__": [1]}},
        {"destination": "a@b"},
        {"destination": [1]},
        {"destination": {"a": 1}},
        {"pattern": 5, "matcher": "glob"},
        {"pattern": "a*", "matcher": "no-such"},
        {"reply_to": "x", "ticket": "t"},
        {"reply_to": {"exchange": "host.other", "routing_key": "host.other"}, "ticket": "t"},
        {"reply_to": {**REPLY_TO, "routing_key": 5}, "ticket": "t"},
        {"reply_to": REPLY_TO},
    ],
    ids=lambda body: json.dumps(body)[:60],
)
def test_command_of_another_shape_is_refused(body):
    """It reaches no handler, and its answer goes nowhere."""
    with pytest.raises(UnreadableMessageError, match=r"^its? "):
        heard(command(**body))


@pytest.mark.parametrize("clock", [-1, 2**80, "7", None, 1.5, [1]])
def test_clock_of_a_command_is_a_number_or_not_there(clock):
    """Celery adds to it."""
    message = {**command(), "headers": {"clock": clock}}
    assert command_message(json.dumps(message).encode())["headers"] == {"clock": 0}


def test_delay_covers_every_retry_of_ours():
    """A retry is not brought forward."""
    from worker.execution import attempt  # noqa: PLC0415 -- reads the environment

    assert received.MOST_DELAY_S > attempt.RETRY_MOST_S
