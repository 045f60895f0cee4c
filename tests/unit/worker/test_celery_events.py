"""What Celery's events say: which pings are shown, and why an event is tried again."""

from types import SimpleNamespace

import pytest

from cowpoke.routes import Lane
from worker import errors
from worker.execution import request
from worker.execution.reasons import REASONS, retry_reason
from worker.execution.request import EventRequest, shows


class Eventer:
    """What Celery sends its events with."""

    enabled = True

    def __init__(self) -> None:
        self.sent = []

    def send(self, kind, **fields):
        """Keep the event."""
        self.sent.append((kind, fields))


@pytest.fixture
def runtime(monkeypatch):
    """A worker process that shows one ping in ten."""
    found = SimpleNamespace(settings=SimpleNamespace(flower_pings=10), shown={})
    monkeypatch.setattr(request, "current", lambda: found)
    return found


@pytest.fixture
def make_request(runtime):
    """A request of Celery's without the message that it is made of."""

    def make(name: str, event_id: str) -> EventRequest:
        made = EventRequest.__new__(EventRequest)
        made._eventer = Eventer()
        made.name, made.id = name, event_id
        made._argsrepr, made._kwargsrepr = "web-1 (1i37)", "{}"
        made._request_dict = {}
        made._root_id = made._parent_id = None
        made._task = SimpleNamespace(send_events=name != "ping")
        return made

    return make


def test_one_ping_in_ten_is_shown_and_every_other_event(runtime):
    """Chosen by the id, so that all events about one ping go together."""
    ids = [f"event-{number}" for number in range(2000)]
    assert 100 < sum(shows("ping", one) for one in ids) < 300
    assert all(shows("compute.instance.activate", one) for one in ids)
    runtime.settings.flower_pings = 0
    assert not any(shows("ping", one) for one in ids)
    runtime.settings.flower_pings = 1
    assert all(shows("ping", one) for one in ids)


def test_hidden_ping_that_fails_is_shown_with_its_arguments(runtime, make_request):
    """Flower would otherwise have a task without a name."""
    runtime.settings.flower_pings = 0
    ping = make_request("ping", "e1")
    runtime.shown["e1"] = "answered"
    ping.send_event("task-started")
    ping.send_event("task-succeeded", result="{}", runtime=0.1)
    assert ping._eventer.sent == []
    assert runtime.shown == {}
    ping.send_event("task-failed", exception="internal-error", traceback="x")
    (received, fields), (failed, _) = ping._eventer.sent
    assert (received, failed) == ("task-received", "task-failed")
    assert (fields["name"], fields["args"]) == ("ping", "web-1 (1i37)")


@pytest.mark.parametrize(
    ("kind", "fields", "public"),
    [
        ("task-started", {}, {}),
        ("task-succeeded", {"result": "secret", "runtime": 2.5}, {"result": "", "runtime": 2.5}),
        ("task-retried", {"exception": "secret"}, {"exception": "retried", "traceback": ""}),
        (
            "task-failed",
            {"exception": "ValueError('secret')", "traceback": "secret"},
            {
                "exception": "internal-error",
                "traceback": "The sentence is not public: cowpoke events show e1",
            },
        ),
        ("task-revoked", {"terminated": False, "signum": "secret"}, {"terminated": False}),
        ("task-rejected", {"requeue": True, "other": "secret"}, {"requeue": True}),
    ],
)
def test_only_public_fields_are_sent(make_request, kind, fields, public):
    """Whatever Celery puts into an event, now or in a later version."""
    made = make_request("compute.instance.activate", "e1")
    made.send_event(kind, **fields)
    assert made._eventer.sent == [(kind, {"uuid": "e1", **public})]


def test_every_retryable_error_has_a_public_reason():
    """A new error needs a sentence here, or Flower shows its code alone."""
    left, found = [errors.WorkerError], set()
    while left:
        kind = left.pop()
        left += kind.__subclasses__()
        if issubclass(kind, errors.RetryableError) and kind is not errors.RetryableError:
            found.add(kind.code)
    assert found | {errors.ImageNeededError.code} == set(REASONS)


def test_reason_says_when_and_where_the_event_goes_on():
    """In the same lane after a while, or in another lane at once."""
    assert retry_reason("lock-held", delay_s=1.24) == (
        "lock-held: another event works on the resource, again in 1.2 s"
    )
    moved = retry_reason("image-needed", delay_s=0, moved_to=Lane.IMAGES)
    assert moved.endswith("goes on in the lane images")
    assert retry_reason("new-code", delay_s=1) == "new-code, again in 1.0 s"
