"""Frames: events, blank ones, and everything that is neither."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.errors import DecodeError
from bridge.inbound.decode import MOST_DEPTH, decode
from cowpoke.events import Event

EVENT = {
    "id": "e1",
    "name": "compute.instance.activate",
    "replyTo": "reply.1",
    "resourceType": "instanceHostMap",
    "resourceId": "1ihm1",
    "data": {},
}


def refusal(**fields):
    """The error for an event with some fields changed."""
    with pytest.raises(DecodeError) as raised:
        decode(json.dumps({**EVENT, **fields}))
    return raised.value


@pytest.mark.parametrize("make", [str, str.encode, "  {}\r\n".format])
def test_reads_an_event(make):
    """Text and bytes, with white space around or not."""
    assert decode(make(json.dumps(EVENT))) == Event.model_validate(EVENT)


@pytest.mark.parametrize("frame", ["", " \r\n", b"", b"\n"])
def test_reads_a_blank_frame_as_nothing(frame):
    """Older servers keep a connection alive with them."""
    assert decode(frame) is None


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff\xfe",
        "{",
        json.dumps(EVENT)[:40],
        "[]",
        "null",
        '"text"',
        "12",
        "9" * 5000,
        '{"a":' * 100_000,
        "[" * 100_000 + "]" * 100_000,
        "{}",
        '{"id":"a"}',
    ],
)
def test_refuses_what_is_no_event(frame):
    """A frame that nothing can be read of has nobody to be answered to."""
    with pytest.raises(DecodeError) as raised:
        decode(frame)
    assert raised.value.partial is None


def test_keeps_what_a_refusal_needs():
    """With an id and a replyTo the broken event can be answered."""
    partial = refusal(data=[1]).partial
    assert (partial.id, partial.name, partial.reply_to, partial.resource_id) == (
        "e1",
        EVENT["name"],
        "reply.1",
        "1ihm1",
    )


@pytest.mark.parametrize("name", ["", None, 5, "\ud800", "x" * 300])
def test_can_refuse_an_event_with_a_broken_name(name):
    """The answer names the event as unreadable when it has no name itself."""
    partial = refusal(name=name).partial
    assert (partial.id, partial.name) == ("e1", "unreadable")


@pytest.mark.parametrize("resource_id", ["\ud800", "a\udfff", "x" * 257])
def test_can_refuse_an_event_with_a_broken_resource(resource_id):
    """W 31: text that no wire can carry or that is too long is left out of the answer."""
    partial = refusal(resourceId=resource_id).partial
    assert (partial.id, partial.reply_to, partial.resource_id) == ("e1", "reply.1", None)


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "x" * 300},
        {"id": ""},
        {"id": 7},
        {"replyTo": 7},
        {"replyTo": "\ud800"},
        {"replyTo": "x" * 257},
        {"data": [], "replyTo": ""},
        {"data": [], "replyTo": None},
    ],
)
def test_does_not_answer_without_an_id_and_a_reply_address(fields):
    """Where nobody waits, or nothing could be matched, there is no refusal."""
    assert refusal(**fields).partial is None


def test_says_which_field_is_wrong():
    """The error names the field, not the value."""
    message = refusal(timeoutMillis="hunter2").message
    assert "timeoutMillis" in message
    assert "hunter2" not in message


def test_refuses_deep_nesting_and_takes_what_is_under_the_limit():
    """What is written again later must not be deeper than any writer's stack."""
    deep = "1"
    for _ in range(MOST_DEPTH):
        deep = f'{{"a":{deep}}}'
    with pytest.raises(DecodeError):
        decode(json.dumps(EVENT).replace('"data": {}', f'"data": {deep}'))
    wide = json.dumps({**EVENT, "data": {"a": [[]] * 1000}})
    assert decode(wide).data == {"a": [[]] * 1000}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
)
event_like = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("id", "name", "replyTo", "resourceType", "resourceId", "data", "time", "timeoutMillis"),
        json_values | st.text(min_size=1),
    ),
)


@given(st.binary() | st.text(st.characters()) | (json_values | event_like).map(json.dumps))
@example('{"id":"a","name":"b","time":NaN}')
@example('{"id":"a","name":"b","timeoutMillis":1e999}')
@example('{"id":"a","name":"b","timeoutMillis":' + "9" * 4000 + "}")
@example('{"id":"\\ud800","name":"b","replyTo":"r"}')
@example('{"id":"a","name":"b","replyTo":"r","data":{"\\udfff":NaN}}')
def test_any_frame_is_an_event_or_blank_or_refused(frame):
    """Nothing that a server may send ends in anything else; what is kept can be sent on."""
    try:
        found = decode(frame)
    except DecodeError as problem:
        found = problem.partial
    if found is not None:
        json.dumps(dict(found.data))
        for text in (found.id, found.name, found.reply_to, found.resource_type, found.resource_id):
            assert (text or "").encode() is not None
