"""`cowpoke events`: what it lists, shows and changes, on a real Redis."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet

from cowpoke import keys
from cowpoke.cli.main import main
from cowpoke.history import Ending, FinishedEvent
from cowpoke.lease import Lease
from cowpoke.ledger.keeping import HistoryWriter
from cowpoke.ledger.states import State
from cowpoke.liveness import Leases
from cowpoke.routes import Lane
from cowpoke.seal import ClusterKeyring
from tests.ledgers import HOST, QUEUE, Ledgers

PROJECT_DIR = Path(__file__).parents[2]
OTHER_HOST = "other-host"
SECRET = "hunter2-hunter2"
INSTANCE = {
    "instanceHostMap": {
        "instance": {
            "id": 37,
            "name": "web-1",
            "data": {
                "fields": {
                    "imageUuid": "docker:nginx:1.25",
                    "environment": {"DB_PASSWORD": SECRET},
                    "note": f"the password is {SECRET}",
                    "escape": "\x1b[31mred",
                }
            },
        }
    }
}


@pytest.fixture
def queue_key():
    """The key of a cluster of the test's own."""
    return Fernet.generate_key().decode()


@pytest.fixture
def ledgers(client, queue_key):
    """All sides of the ledger with this key."""
    return Ledgers(client, ClusterKeyring(queue_key))


@pytest.fixture
def environment(redis_url, queue_key):
    """The settings of the command."""
    return {"REDIS_URL": redis_url, "QUEUE_KEY": queue_key}


@pytest.fixture
def events(environment):
    """Call the command; what it wrote."""

    def call(*arguments, code=0, **options):
        result = CliRunner().invoke(main, ["events", *arguments], env=environment, **options)
        assert result.exit_code == code, result.output
        return result.output

    return call


@pytest.fixture
def in_flight(ledgers):
    """An event that waits for its next try, with a summary; its id."""
    event_id = ledgers.accept("open-event-1", data=INSTANCE, resourceId="1ihm-open")
    ledgers.client.delete(QUEUE)
    worker = ledgers.start_process()
    worker.claim(event_id)
    worker.retry(event_id, delay_ms=30_000, lane=Lane.COMPUTE, queue=QUEUE, code="engine-busy")
    return event_id


@pytest.fixture
def history(client, ledgers):
    """Some events that are over, on two hosts; the first one ended long ago."""
    now_ms = ledgers.clock.now_ms()
    HistoryWriter(client, ledgers.keyring, 100).add(
        [
            finished("done-event-1", ended_ms=now_ms - 7_200_000),
            finished("done-event-2", ended_ms=now_ms - 1_000, outcome=Ending.ERROR, code="a-code"),
            finished("done-event-3", ended_ms=now_ms, host_uuid=OTHER_HOST, name="storage.pull"),
        ]
    )
    client.zadd("cowpoke:seen", {HOST: 1, OTHER_HOST: 1})


def finished(event_id, *, ended_ms, **fields):
    """An event that took three seconds."""
    return FinishedEvent(
        **{
            "event_id": event_id,
            "name": "compute.instance.activate",
            "resource": "instanceHostMap:1ihm7",
            "summary": "db-1 (1i9) postgres:16",
            "host_uuid": HOST,
            "lane": "compute",
            "outcome": Ending.SUCCESS,
            "message": "as \x1b[31mred",
            "attempts": 1,
            "worker": "w1.compute.1",
            "received_ms": ended_ms - 3_000,
            "first_claimed_ms": ended_ms - 2_000,
            "claimed_ms": ended_ms - 2_000,
            "ended_ms": ended_ms,
            "published_ms": ended_ms + 5,
            **fields,
        }
    )


def ids(events, *options):
    """The ids that a list with these options has."""
    return [one["event_id"] for one in json.loads(events("list", "--json", *options))]


def test_list(events, in_flight, history):
    """What has no answer comes first, then the newest; for people in one line each."""
    order = [in_flight, "done-event-3", "done-event-2", "done-event-1"]
    assert ids(events) == order
    header, *lines = events("list").splitlines()
    assert header.split()[:4] == ["when", "host", "event", "name"]
    assert [line.split()[-1] for line in lines] == ["1"] * 4, "each was tried once"
    assert "web-1 (1i37) nginx:1.25" in lines[0]
    assert "waits for retry" in lines[0]
    assert "storage.pull" in lines[1]
    assert "a-code" in lines[2]
    assert events("list", "--code", "no-such") == "no events\n"


def test_a_host_is_named_as_its_machine(events, in_flight, history, client, queue_key):
    """As in `hosts show`, with its domain or without."""
    lease = Lease(worker_id="w-1", host_uuid=HOST, lanes=(), hostname="web-1.example.org")
    Leases(client).renew(lease, ClusterKeyring(queue_key).host(HOST))
    of_host = ids(events, "--host", HOST)
    for name in ("web-1.example.org", "web-1"):
        assert ids(events, "--host", name) == of_host


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (["--host", HOST], [0, 2, 1]),
        (["--host", "other"], [3]),
        (["--name", "pull"], [3]),
        (["--outcome", "open"], [0]),
        (["--outcome", "error"], [2]),
        (["--code", "a-code"], [2]),
        (["--resource", "WEB-1"], [0]),
        (["--resource", "instanceHostMap:1ihm7"], [3, 2, 1]),
        (["--since", "1h"], [0, 3, 2]),
        (["--since", "2000-01-01T00:00:00Z", "--outcome", "success"], [3, 1]),
        (["-n", "2"], [0, 3]),
    ],
    ids=str,
)
def test_filters(events, in_flight, history, options, numbers):
    """Each one alone, and two together."""
    names = [in_flight, *(f"done-event-{number}" for number in (1, 2, 3))]
    assert ids(events, *options) == [names[number] for number in numbers]


def test_show_of_an_open_event(events, in_flight):
    """All that happened so far; what cattle sent only when asked, and nothing secret of it."""
    text = events("show", "open-eve")
    assert "web-1 (1i37) nginx:1.25" in text
    assert "next try" in text
    assert "engine-busy" in text
    assert "note" not in text
    (shown,) = json.loads(events("show", in_flight, "--json", "--data"))
    assert [one["step"] for one in shown["steps"]] == ["received", "claimed", "retry"]
    fields = shown["data"]["instanceHostMap"]["instance"]["data"]["fields"]
    assert fields["note"] == "the password is ***"
    assert "environment" not in fields
    for output in (events("show", in_flight, "--data"), json.dumps(shown)):
        assert SECRET not in output
        assert "\x1b" not in output


def test_steps_of_the_same_ms_are_in_order(events, in_flight, client):
    """A worker may claim an event in the ms in which it came."""
    key = keys.event(HOST, in_flight)
    received_ms = client.hget(key, "received_ms")
    steps = "".join(f"{received_ms} {step}\n" for step in ("claimed a", "retry engine-busy"))
    client.hset(key, mapping={"steps": steps, "queued_ms": received_ms})
    (shown,) = json.loads(events("show", in_flight, "--json"))
    assert [one["step"] for one in shown["steps"]] == ["received", "claimed", "retry"]


def test_show_of_a_finished_event(events, history):
    """Stages, outcome and steps; control characters are escaped."""
    text = events("show", "done-event-2")
    assert "error" in text
    assert "queue 1.000 s, run 2.000 s, publish 0.005 s" in text
    assert "w1.compute.1" in text
    assert "\x1b" not in text
    (shown,) = json.loads(events("show", "done-event-2", "--json"))
    assert (shown["code"], shown["run_ms"], shown["publish_ms"]) == ("a-code", 2_000, 5)


def test_names_that_do_not_fit(events, history, in_flight):
    """Each sentence says what to do."""
    assert "give more of it" in events("show", "done-event", code=1)
    assert "give --host" in events("show", "nothing-like-it", code=1)
    assert "at least 4" in events("show", "do", code=1)
    assert "cowpoke hosts list" in events("list", "--host", "nobody", code=1)
    assert "wanted a duration" in events("list", "--since", "yesterday", code=2)
    assert "without an answer" in events("retry", "done-event-1", code=1)


def test_retry(events, in_flight, ledgers):
    """The event is in its queue at once."""
    assert "queued now" in events("retry", in_flight)
    assert ledgers.queued() == [in_flight]
    assert "it waits in its queue already" in events("retry", in_flight, code=1)


def test_drop_asks(events, in_flight, ledgers):
    """Without a terminal nobody can answer; `--yes` does not ask."""
    assert "give --yes" in events("drop", in_flight, code=1)
    assert ledgers.state(in_flight) == State.QUEUED
    said = events("drop", in_flight, "--yes", "--reason", "it hangs")
    assert "`dropped`" in said
    ((_, outcome),) = ledgers.sent()
    assert (outcome.code, outcome.message.endswith("it hangs")) == ("dropped", True)


@pytest.mark.parametrize("key", ["", Fernet.generate_key().decode()], ids=["missing", "other"])
def test_drop_without_the_key_changes_nothing(events, in_flight, ledgers, environment, key):
    """No bridge could open the answer, and cattle would wait in vain."""
    environment["QUEUE_KEY"] = key
    assert "nothing was changed; QUEUE_KEY does not open" in events(
        "drop", in_flight, "--yes", code=1
    )
    assert ledgers.state(in_flight) == State.QUEUED


def test_unreadable_without_the_key(events, in_flight, history, environment):
    """Another key shows what lies in clear, and no history."""
    environment["QUEUE_KEY"] = Fernet.generate_key().decode()
    (shown,) = json.loads(events("list", "--json"))
    assert (shown["event_id"], shown["summary"], shown["resource"]) == (in_flight, "", "")
    assert "data" not in json.loads(events("show", in_flight, "--json", "--data"))[0]


def test_follow(environment, client, ledgers):
    """One line for each event that fits, as it ends; Ctrl+C ends it."""
    writer = HistoryWriter(client, ledgers.keyring, 100)
    follow = ["-m", "cowpoke", "events", "follow", "--json", "--name", "activate"]
    # A suite that a script runs in the background ignores Ctrl+C, and so would the program.
    program = ["env", "--default-signal=INT", sys.executable, *follow]
    with subprocess.Popen(
        program,
        env=environment,
        cwd=PROJECT_DIR,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        try:
            assert "waiting for events" in following.stderr.readline()
            writer.add([finished("e-1", ended_ms=10_000, name="storage.pull")])
            writer.add([finished("e-2", ended_ms=10_000)])
            assert json.loads(following.stdout.readline())["event_id"] == "e-2"
        finally:
            following.send_signal(signal.SIGINT)
            following.communicate(timeout=30)
    assert following.returncode == 1
