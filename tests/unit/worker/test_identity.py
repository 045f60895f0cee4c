"""Who this host is: uuids given, kept and made.

Row numbers (A, B, C) refer to docs/parity.md.
"""

import socket
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from worker.errors import HostFactsError
from worker.host.files import write_whole
from worker.host.identity import identify, keep_hostname, kept_uuid
from worker.host.locks import Locks
from worker.settings import WorkerSettings


def settings(folder, **variables):
    """Settings of a host whose home is the folder."""
    return WorkerSettings(CATTLE_HOME=str(folder), **variables)


def test_uuids_are_made_once_and_kept(tmp_path):
    """The same host after a restart (A 15.12)."""
    first, second = identify(settings(tmp_path)), identify(settings(tmp_path))
    assert first == second
    assert uuid.UUID(first.host_uuid) != uuid.UUID(first.physical_host_uuid)


def test_a_given_uuid_wins_and_is_written_down(tmp_path):
    """For the day the variable is not given any more (A 15.12, parity B.6)."""
    identify(settings(tmp_path))
    given = {"CATTLE_DOCKER_UUID": "given", "CATTLE_PHYSICAL_HOST_UUID": "given-too"}
    told = identify(settings(tmp_path, **given))
    assert (told.host_uuid, told.physical_host_uuid) == ("given", "given-too")
    later = identify(settings(tmp_path))
    assert (tmp_path / ".docker_uuid").read_text() == "given", "the old agent reads it untrimmed"
    assert (later.host_uuid, later.physical_host_uuid) == ("given", "given-too")
    assert [path.name for path in tmp_path.iterdir() if "uuid" not in path.name] == []


def test_uuid_files_may_lie_elsewhere(tmp_path):
    """A.18 DOCKER_UUID_FILE and A.18 PHYSICAL_HOST_UUID_FILE name the files themselves."""
    docker, physical = tmp_path / "x" / "docker", tmp_path / "y" / "physical"
    given = {"CATTLE_DOCKER_UUID_FILE": docker, "CATTLE_PHYSICAL_HOST_UUID_FILE": physical}
    told = identify(settings(tmp_path, **given))
    assert docker.read_text().strip() == told.host_uuid
    assert physical.read_text().strip() == told.physical_host_uuid


@pytest.mark.parametrize("name", [".docker_uuid", ".physical_host_uuid"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", " ", "\n\n"])
def test_a_newline_is_taken_out_of_an_older_file_once(tmp_path, name, ending):
    """The old agent would be another host with it; the uuid itself stays (parity B.6)."""
    (tmp_path / name).write_text(f"of-before{ending}", newline="")
    told = identify(settings(tmp_path))
    assert "of-before" in (told.host_uuid, told.physical_host_uuid)
    assert (tmp_path / name).read_bytes() == b"of-before"
    before_ns = (tmp_path / name).stat().st_mtime_ns
    assert identify(settings(tmp_path)) == told
    assert (tmp_path / name).stat().st_mtime_ns == before_ns


def test_made_uuids_have_no_newline(tmp_path):
    """The way back to the old agent needs nothing but the file (parity B.6)."""
    told = identify(settings(tmp_path))
    assert (tmp_path / ".docker_uuid").read_text() == told.host_uuid
    assert (tmp_path / ".physical_host_uuid").read_text() == told.physical_host_uuid


def test_a_newline_that_cannot_be_taken_out_fails_nothing(tmp_path, monkeypatch):
    """On a full disk the host starts as before (C 10)."""

    def full(path, content):
        raise OSError(28, "No space left on device")

    (tmp_path / "uuid").write_text("of-before\n")
    monkeypatch.setattr("worker.host.identity.write_whole", full)
    assert kept_uuid(tmp_path / "uuid") == "of-before"


def test_uuids_move_with_the_state_folder(tmp_path):
    """A state folder of its own takes over from CATTLE_HOME, where they lay before (A 15.12)."""
    home, state = tmp_path / "home", tmp_path / "state"
    before = identify(settings(home))
    (home / ".docker_uuid").write_text(f"{before.host_uuid}\n")
    given = {"CATTLE_STATE_DIR": str(state)}
    with ThreadPoolExecutor(8) as pool:
        moved = set(pool.map(lambda _: identify(settings(home, **given)).host_uuid, range(32)))
    assert moved == {before.host_uuid}
    assert (state / ".docker_uuid").read_text() == before.host_uuid
    (home / ".docker_uuid").write_text("another")
    assert identify(settings(home, **given)).host_uuid == before.host_uuid
    told = identify(settings(home, **given, CATTLE_DOCKER_UUID="given"))
    assert (told.host_uuid, told.physical_host_uuid) == ("given", before.physical_host_uuid)


def test_workers_that_start_together_agree(tmp_path):
    """The first writer wins, nobody reads half a uuid (A 15.12)."""
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(kept_uuid, [tmp_path / "uuid"] * 64))
    assert len(found) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["uuid"]


def test_a_damaged_file_is_not_replaced_in_silence(tmp_path):
    """A new uuid would be a new host; the operator decides (A 15.12, C 20)."""
    (tmp_path / "uuid").write_text("")
    with pytest.raises(HostFactsError, match="restore the file, or remove it"):
        kept_uuid(tmp_path / "uuid")


def test_a_kept_uuid_is_only_read(tmp_path):
    """A host whose disk is full must be able to start again (C 10)."""
    made = kept_uuid(tmp_path / "uuid")
    before_ns = tmp_path.stat().st_mtime_ns
    assert kept_uuid(tmp_path / "uuid") == made
    assert tmp_path.stat().st_mtime_ns == before_ns


def test_a_write_that_fails_leaves_nothing(tmp_path):
    """On a full disk such leftovers would be many (C 10, C 31)."""
    (tmp_path / "target").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "target", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_the_name_and_the_address_are_the_operators(tmp_path):
    """Published ports have an address of their own, else the agent's (A.18 AGENT_IP)."""
    told = identify(settings(tmp_path, CATTLE_HOSTNAME="h", CATTLE_AGENT_IP="1.1.1.1"))
    assert (told.hostname, told.host_ip) == ("h", "1.1.1.1")
    given = {"CATTLE_AGENT_IP": "1.1.1.1", "CATTLE_DOCKER_HOST_IP": "2.2.2.2"}
    assert identify(settings(tmp_path, **given)).host_ip == "2.2.2.2"


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("198.51.100.20\n", "198.51.100.20"),
        ("2001:db8::7\n", "2001:db8::7"),
        ("127.0.0.1", None),
        ("::1", None),
        ("0.0.0.0", None),
        ("host.example", None),
        ("192.0.2.7 192.0.2.8", None),
        ("", None),
    ],
)
def test_the_address_that_cattle_saw_is_used_when_none_is_given(tmp_path, stored, told):
    """A join stores it, also while a worker runs; the operator's is better (parity B.6)."""
    here = identify(settings(tmp_path))
    given = identify(settings(tmp_path, CATTLE_AGENT_IP="203.0.113.1"))
    assert here.host_ip is None
    (tmp_path / ".detected_agent_ip").write_text(stored)
    assert (here.host_ip, given.host_ip) == (told, "203.0.113.1")


def test_an_address_that_cannot_be_read_is_none(tmp_path):
    """A folder in its place, or bytes that are no text."""
    here = identify(settings(tmp_path))
    (tmp_path / ".detected_agent_ip").write_bytes(b"\xff\xfe192.0.2.7")
    assert here.host_ip is None
    (tmp_path / ".detected_agent_ip").unlink()
    (tmp_path / ".detected_agent_ip").mkdir()
    assert here.host_ip is None


def test_the_lock_file_lies_where_it_is_wanted_and_beside_the_old_agents(tmp_path):
    """A.18 LOCK_DIR is made where missing; the old agent's `locks` is no obstacle (A 2.3)."""
    (tmp_path / "locks").mkdir()
    with Locks(tmp_path, wait_s=1).hold("a"):
        pass
    given = settings(tmp_path, CATTLE_LOCK_DIR=str(tmp_path / "elsewhere" / "deep"))
    files = set()
    for _ in range(2):
        with Locks(given.lock_dir, wait_s=1).hold("a"):
            (path,) = given.lock_dir.iterdir()
            files.add(path.stat().st_ino)
        # Also when nobody holds it: a file that is unlinked has two holders in the end.
        (path,) = given.lock_dir.iterdir()
        files.add(path.stat().st_ino)
    assert len(files) == 1


def test_a_kept_name_of_the_machine_is_every_workers(tmp_path):
    """In containers each worker has another host name; the machine's is kept for all of them."""
    assert identify(settings(tmp_path)).hostname == socket.gethostname()
    keep_hostname(settings(tmp_path), "machine-7")
    assert identify(settings(tmp_path)).hostname == "machine-7"
    assert identify(settings(tmp_path, CATTLE_HOSTNAME="given")).hostname == "given"
