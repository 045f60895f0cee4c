"""The parts of operations that need no Engine.

Row numbers (A, B, C, W) refer to docs/parity.md.
"""

import threading
import time

import pytest

from tests import factories
from tests.floor import allowed_s
from tests.hosts import host_on
from worker.container import UUID_LABEL, Container
from worker.errors import EngineUnavailableError, PayloadError, ProtectedContainerError
from worker.host.facts import facts_without_engine, search_domains
from worker.operations.protection import (
    PART_LABEL,
    is_part,
    own_container_id,
    refuse_own,
)
from worker.operations.timed_call import TimedCall
from worker.payload import instance_of
from worker.settings import WorkerSettings

OWN_ID = "0123456789abcdef" * 4


@pytest.fixture
def host(tmp_path):
    """A host whose Engine is not there."""
    return host_on(f"unix://{tmp_path}/none.sock", tmp_path)


# -- calls with a deadline -------------------------------------------------------------------------


def test_call_in_time_returns_its_result():
    """The caller gets the value that the call returned."""
    assert TimedCall("it", lambda: 5).result(time.monotonic() + 5) == 5


def test_late_call_is_not_awaited():
    """The caller goes on at its deadline."""
    held = threading.Event()
    call = TimedCall("it", held.wait)
    began_s = time.monotonic()
    with pytest.raises(EngineUnavailableError, match="no answer about it in time"):
        call.result(time.monotonic() + 0.05)
    assert time.monotonic() - began_s < allowed_s(1)
    held.set()


def test_error_of_a_call_is_raised_to_the_caller():
    """As it was raised."""
    with pytest.raises(ZeroDivisionError):
        TimedCall("it", lambda: 1 / 0).result(time.monotonic() + 5)


# -- facts -----------------------------------------------------------------------------------------


def test_later_search_lines_come_first(tmp_path):
    """Several lines count, doubles do not (A 7.1)."""
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 1.1.1.1\nsearch a b\n# search c\n\nsearch d a\n")
    assert search_domains(path) == ("d", "a", "b")
    assert search_domains(tmp_path / "none") == ()


# -- protection ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cgroup", f"12:pids:/docker/{OWN_ID}\n"),
        ("cgroup", f"0::/system.slice/docker-{OWN_ID}.scope\n"),
        ("cgroup", f"12:pids:/docker/{'f' * 64}/docker/{OWN_ID}\n"),
        ("mountinfo", f"9 8 0:1 /var/lib/docker/containers/{OWN_ID}/hosts /etc/hosts rw\n"),
        ("mountinfo", f"9 8 0:1 /containers/{OWN_ID}/hostname /etc/hostname rw - ext4 /dev/b rw\n"),
        ("mountinfo", f"9 8 0:1 /ssd/containers/{OWN_ID}/resolv.conf /etc/resolv.conf rw\n"),
    ],
)
def test_our_own_container_is_known(tmp_path, name, text):
    """With either version of cgroups (parity B.6)."""
    (tmp_path / name).write_text(text)
    assert own_container_id(tmp_path) == OWN_ID


def test_outside_of_a_container_there_is_none(tmp_path):
    """A process on the host protects by labels only."""
    (tmp_path / "cgroup").write_text("0::/user.slice\n")
    folder = f"/var/lib/docker/containers/{OWN_ID}"
    (tmp_path / "mountinfo").write_text(
        f"41 22 0:38 / {folder}/mounts/shm rw - tmpfs shm rw\n31 1 8:1 / /etc rw - ext4 /dev/a rw\n"
    )
    assert own_container_id(tmp_path) is None, "what a host sees is its containers', not its own"


def container(**labels):
    """A container with these labels; `project` and `uuid` are short for Compose's and cattle's."""
    names = {"project": "com.docker.compose.project", "uuid": UUID_LABEL, "part": PART_LABEL}
    given = {names[key]: text for key, text in labels.items()}
    return Container(inspect={"Id": "x", "Name": "/redis", "Config": {"Labels": given}})


def test_a_part_of_the_installation_is_refused(host):
    """By its label, with a way out in the message (C 18)."""
    engine = host.host.engine
    with pytest.raises(ProtectedContainerError, match="cowpoke's own redis and is not removed"):
        refuse_own(container(part="redis"), "removed", engine)
    refuse_own(container(), "removed", engine)


@pytest.mark.parametrize(
    ("found", "own", "expected"),
    [
        ({}, None, True),
        ({"uuid": "u-1"}, None, False),
        ({"project": "cowpoke"}, {"project": "cowpoke"}, True),
        ({"project": "users"}, {"project": "cowpoke"}, False),
        ({}, {"project": "cowpoke"}, False),
        ({}, {}, True),
        ({"project": "cowpoke", "uuid": "u-1"}, {"project": "cowpoke"}, False),
    ],
)
def test_label_of_a_user_makes_no_part(found, own, expected):
    """Cattle's containers are none, nor are those of another Compose project (W 35, B.6)."""
    own_container = container(**own) if own is not None else None
    assert is_part(container(part="redis", **found), own_container) is expected


# -- folders of volumes ----------------------------------------------------------------------------


def remove(host, path, **fields):
    """Remove the volume whose folder this is."""
    data = factories.volume_data(fields, uri=f"file://{path}")
    return host.run("storage.volume.remove", data)


def test_a_volumes_folder_is_deleted_once_and_again(host, tmp_path):
    """Below the state folder's volumes; gone is fine (A 13.10)."""
    folder = tmp_path / "volumes" / "one"
    (folder / "deep").mkdir(parents=True)
    for _ in range(2):
        assert remove(host, folder) == {"volumeStoragePoolMap": {"volume": {"format": "docker"}}}
    assert (tmp_path / "volumes").is_dir()
    assert not folder.exists()


@pytest.mark.parametrize(
    "path", ["/etc", "volumes", "volumes/../kept", "volumes/one/../../kept", "kept", "/"]
)
def test_a_folder_elsewhere_is_not_deleted(host, tmp_path, path):
    """Neither a root itself, nor by `..`, nor anywhere else on the host (A 13.10)."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / "volumes" / "one").mkdir(parents=True)
    with pytest.raises(PayloadError, match="is not deleted"):
        remove(host, path if path.startswith("/") else f"{tmp_path}/{path}")
    assert kept.is_dir()


@pytest.mark.parametrize("path", ["volumes/link", "volumes/link/inner"])
def test_a_link_is_not_followed(host, tmp_path, path):
    """What it leads to stays (A 13.10)."""
    inner = tmp_path / "kept" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "volumes").mkdir()
    (tmp_path / "volumes" / "link").symlink_to(tmp_path / "kept")
    with pytest.raises(PayloadError, match="its path contains a link"):
        remove(host, tmp_path / path)
    assert inner.is_dir()


def test_a_folder_of_the_host_is_left_alone(host, tmp_path):
    """isHostPath: not ours (A 13.10)."""
    folder = tmp_path / "volumes" / "one"
    folder.mkdir(parents=True)
    remove(host, folder, isHostPath=True)
    assert folder.is_dir()


def test_a_known_address_needs_no_look_up(host):
    """It is reported as it was given."""
    reply = host.run("ping", {"options": {"resources": True}})
    assert reply["resources"][-1] == {
        "type": "ipAddress",
        "uuid": "1.2.3.4",
        "address": "1.2.3.4",
        "hostUuid": "host-uuid",
    }


def test_ping_keeps_the_last_address_of_a_name(tmp_path, monkeypatch):
    """A 14.7: a name server that is away costs a host neither its ping nor its address."""
    answers = iter(["10.1.2.3"])

    def look_up(_):
        try:
            return next(answers)
        except StopIteration:
            raise OSError("no name server") from None

    monkeypatch.setattr("socket.gethostbyname", look_up)
    named = host_on(f"unix://{tmp_path}/none.sock", tmp_path, CATTLE_DOCKER_HOST_IP="here.example")
    for _ in range(3):
        told = named.run("ping", {"options": {"resources": True}})["resources"]
        assert told[-1]["address"] == "10.1.2.3"


def test_what_settings_and_files_tell_the_rules(tmp_path):
    """A 7.3 to 7.5: a named resolv.conf, the proxies of system containers, the config url."""
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("search office.example\n")
    given = {
        "WORKER_RESOLV_CONF": str(resolv_conf),
        "http_proxy": "http://plain:1",
        "https_proxy": "http://secure:2",
        "NO_PROXY": "localhost",
        "CATTLE_URL": "http://cattle:8080/v1",
    }
    instance = instance_of(factories.instance_data({"dnsSearch": ["a.rancher.internal"]}))
    facts = facts_without_engine(instance, WorkerSettings(**given))
    assert facts.search_domains == ("office.example",)
    assert facts.proxies == {
        "http_proxy": "http://plain:1",
        "HTTP_PROXY": "http://plain:1",
        "https_proxy": "http://secure:2",
        "HTTPS_PROXY": "http://secure:2",
        "no_proxy": "localhost",
        "NO_PROXY": "localhost",
    }
    assert facts.config_url == "http://cattle:8080/v1"
    own = WorkerSettings(**given, CATTLE_CONFIG_URL="http://config/v1")
    assert facts_without_engine(instance, own).config_url == "http://config/v1"
