"""Length limits of what is stored and sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cowpoke import keys
from cowpoke.events import Event
from cowpoke.lengths import (
    CODE_CHARS,
    CONTAINER_EVENT_CHARS,
    ID_CHARS,
    MESSAGE_CHARS,
    shortened,
)
from cowpoke.outcomes import error, progress


@given(st.text(), st.integers(0, 60))
def test_shortened_text_is_never_longer_than_its_limit(text, most):
    """W 31: a short text stays as it is, a long one loses its end."""
    short = shortened(text, most)
    assert len(short) <= most or short == text
    assert (short == text) == (len(text) <= most)


def test_cut_text_says_how_much_is_missing():
    """W 31: whoever reads it knows that it is not whole."""
    short = shortened("x" * 10_000, 100)
    kept = short.count("x")
    assert short.endswith(f" ... ({10_000 - kept} more characters)")


def test_messages_of_outcomes_are_cut():
    """W 31: an Engine's answer of megabytes does not reach Redis or cattle."""
    failed = error("c" * 1000, "m" * 100_000)
    assert (len(failed.code), len(failed.message)) == (CODE_CHARS, MESSAGE_CHARS)
    assert len(progress("m" * 100_000).message) == MESSAGE_CHARS


@pytest.mark.parametrize("field", ["id", "name", "replyTo", "resourceType", "resourceId"])
def test_event_with_an_overlong_field_is_refused(field):
    """W 31: every field that is stored in clear has a limit."""
    event = {"id": "e1", "name": "ping"}
    assert Event.model_validate({**event, field: "x" * ID_CHARS})
    with pytest.raises(ValidationError, match=field):
        Event.model_validate({**event, field: "x" * (ID_CHARS + 1)})


def test_container_events_of_a_host_fill_no_redis():
    """A host whose bridges are away has so many bytes in it at most."""
    assert keys.CONTAINER_EVENTS_MOST * CONTAINER_EVENT_CHARS <= 128 * 1024 * 1024
