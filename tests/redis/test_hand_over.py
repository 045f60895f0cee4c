"""When a worker hands the keys of its joined host over again; the child process is a stand-in."""

import os
from types import SimpleNamespace

import pytest

from cowpoke import keys
from worker.host.identity import Identity
from worker.process import hand_over
from worker.process.hand_over import JOINED_FILE, LOOK_EVERY_S, HandOverWatch
from worker.settings import WorkerSettings

HOST = "host-1"


@pytest.fixture
def clock(monkeypatch):
    """The time of the watch, in s."""
    now = [1_000.0]
    monkeypatch.setattr(hand_over, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def started(monkeypatch):
    """The commands of children."""
    commands = []
    monkeypatch.setattr(os, "posix_spawn", lambda _path, command, _env: commands.append(command))
    return commands


@pytest.fixture
def watch(redis_server, redis_client, clock, tmp_path):
    """The watch of a host that joined, with a note in Redis."""
    (tmp_path / JOINED_FILE).write_text("sealed")
    redis_client.set(keys.joined(HOST), "sealed")
    settings = WorkerSettings.model_validate(
        {"REDIS_URL": redis_server.url, "CATTLE_STATE_DIR": str(tmp_path)}
    )
    identity = Identity(host_uuid=HOST, physical_host_uuid="p", hostname="h", given_ip=None)
    return HandOverWatch(settings, identity)


def test_worker_hands_over_once_and_not_while_its_lanes_begin(watch, clock, started):
    """The note in Redis may be sealed with a former key."""
    watch.tick()
    assert started == []
    clock[0] += LOOK_EVERY_S
    watch.tick()
    assert [command[-2:] for command in started] == [["join", "--hand-over"]]
    clock[0] += 10 * LOOK_EVERY_S
    watch.tick()
    assert len(started) == 1


def test_lost_note_is_handed_over_at_once_and_then_less_and_less_often(
    watch, redis_client, clock, started
):
    """Keys that cannot be opened are not tried again and again."""
    redis_client.delete(keys.joined(HOST))
    watch.tick()
    assert len(started) == 1
    for _ in range(100):
        clock[0] += LOOK_EVERY_S
        watch.tick()
    assert 5 < len(started) < 10


def test_host_that_left_hands_nothing_over(watch, redis_client, clock, started, tmp_path):
    """Without the file, whatever Redis has."""
    (tmp_path / JOINED_FILE).unlink()
    redis_client.delete(keys.joined(HOST))
    for _ in range(3):
        clock[0] += LOOK_EVERY_S
        watch.tick()
    assert started == []
