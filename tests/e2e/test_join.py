"""`cowpoke join URL`: a host gets its keys, keeps them and hands them to the bridges."""

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from cowpoke import keys
from cowpoke.bundle import Bundle, bundle_text
from cowpoke.seal import host_key
from simulator.join_rig import JoinRig
from simulator.rig.processes import wait_until
from tests.redis_users import skip_without_selectors


@pytest.fixture
def simulator():
    """Settings of the simulated cattle."""
    return {}


@pytest.fixture
def rig(redis_server, engine, tmp_path, simulator):
    """A hub and a host that has not joined."""
    redis_server.client().flushall()
    with JoinRig(
        redis=redis_server,
        folder=tmp_path / "rancher",
        engine_environment=engine.environment,
        simulator=simulator,
    ) as made:
        yield made


@pytest.fixture
def ready(rig):
    """The same with a bridge and a worker."""
    rig.start()
    return rig


def test_new_host_joins_by_one_command_and_a_second_run_changes_nothing(ready):
    """B.6 register: keys are sealed, not printed, and come again by the register key."""
    url = ready.registration_url()
    done = ready.run("join", url)
    assert done.returncode == 0, done.stdout + done.stderr
    note = ready.note()
    assert note.cattle_url == ready.cattle_url
    kept = ready.state_dir / ".joined"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    token = ready.state_dir / ".registration_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert len(token.read_text()) == 129
    for secret in (note.secret_key, token.read_text().strip()):
        assert secret not in kept.read_text() + done.stdout + done.stderr
    host = ready.wait_host()
    assert host["reportedUuid"] == ready.host_uuid
    again = ready.run("join", url)
    assert again.returncode == 0, again.stdout + again.stderr
    assert ready.note().access_key == note.access_key
    kept.unlink()
    third = ready.run("join", CATTLE_REGISTRATION_URL=url)
    assert third.returncode == 0, third.stdout + third.stderr
    assert ready.note().access_key == note.access_key
    assert [one["id"] for one in ready.hosts()] == [host["id"]]
    assert len(ready.cattle.registers()) == 1


@pytest.mark.parametrize("leaves", [False, True], ids=["at once", "after a leave"])
def test_dead_register_says_so_and_a_new_key_makes_a_new_agent(ready, leaves):
    """B.6 register: with kept keys and without, until somebody asks for a new host."""
    url = ready.registration_url()
    assert ready.run("join", url).returncode == 0
    first = ready.note().access_key
    (register,) = ready.cattle.registers()
    ready.cattle.remove_agent(register["agent"])
    for forgotten in (False, True):
        if forgotten:
            (ready.state_dir / ".joined").unlink()
        refused = ready.run("join", url)
        assert refused.returncode == 3
        assert "--new-register-key" in refused.stderr
        assert ready.note().access_key == first
    if leaves:
        assert ready.run("leave").returncode == 0
    again = ready.run("join", url, "--new-register-key")
    assert again.returncode == 0, again.stdout + again.stderr
    assert ready.note().access_key != first


@pytest.mark.parametrize("simulator", [{"SIMULATOR_REGISTERS_OUTLIVE_AGENTS": "false"}])
def test_host_whose_register_is_gone_is_not_registered_again(ready):
    """A new register object would be a second host, made by itself."""
    url = ready.registration_url()
    assert ready.run("join", url).returncode == 0
    (register,) = ready.cattle.registers()
    ready.cattle.remove_agent(register["agent"])
    (ready.state_dir / ".joined").write_text("sealed with a key that was lost")
    refused = ready.run("join", url)
    assert refused.returncode == 3
    assert "--new-register-key" in refused.stderr
    assert len(ready.cattle.registers()) == 1


def test_nothing_is_registered_before_pings_would_be_answered(rig):
    """B.6 register: Rancher removes agents that never report resources."""
    refused = rig.run("join", rig.registration_url(), "--wait", "1")
    assert refused.returncode == 1
    assert "no worker of host" in refused.stderr
    assert "no bridge" in refused.stderr
    assert rig.cattle.registers() == []
    assert not (rig.state_dir / ".registration_token").exists()


def test_dry_run_changes_nothing(rig):
    """No file, no key in Redis, no register object."""
    before = rig.redis.client().keys()
    done = rig.run("join", rig.registration_url(), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would register at http://127.0.0.2" in done.stdout
    assert not rig.folder.exists()
    assert rig.redis.client().keys() == before
    assert rig.cattle.registers() == []


@pytest.mark.parametrize(
    ("variables", "url", "said"),
    [
        ({}, "http://localhost:8080/v1/scripts/ABC", "localhost"),
        ({}, "http://127.0.0.1:8080/v1/scripts/ABC", "127.0.0.1"),
        ({}, "not-an-url-ABC", "copy it whole"),
        ({"CATTLE_AGENT_IP": "127.0.0.3"}, "http://192.0.2.1/v1/scripts/ABC", "CATTLE_AGENT_IP"),
        ({"CATTLE_AGENT_IP": "300.1.1.1"}, "http://192.0.2.1/v1/scripts/ABC", "CATTLE_AGENT_IP"),
        ({"CATTLE_AGENT_IP": "host.example"}, "http://192.0.2.1/v1/scripts/ABC", "CATTLE_AGENT_IP"),
    ],
)
def test_wrong_addresses_are_refused_before_anything_is_asked(rig, variables, url, said):
    """The url with its token is not quoted."""
    refused = rig.run("join", url, **variables)
    assert refused.returncode == 1
    assert said in refused.stderr
    assert "ABC" not in refused.stderr


def test_another_cattle_than_that_of_the_bridges_is_refused(rig):
    """No bridge of this Redis would accept the keys."""
    refused = rig.run("join", rig.registration_url(), CATTLE_URL="http://192.0.2.7:8080/v1")
    assert refused.returncode == 1
    assert "CATTLE_URL_OVERRIDE" in refused.stderr
    assert rig.cattle.registers() == []


def test_old_token_is_refused_with_advice(ready):
    """The page for a new host has a new one."""
    url = ready.registration_url()
    refused = ready.run("join", f"{url[:-4]}AAAA", "--wait", "5")
    assert refused.returncode == 1
    assert "page for a new host" in refused.stderr


def test_leave_takes_the_keys_back_and_a_join_continues_as_the_same_host(ready):
    """B.6 register: the register key stays on the host."""
    url = ready.registration_url()
    assert ready.run("join", url).returncode == 0
    before = ready.note().access_key
    plan = ready.run("leave", "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert ready.note().access_key == before
    left = ready.run("leave")
    assert left.returncode == 0, left.stdout + left.stderr
    assert ready.note() is None
    assert not (ready.state_dir / ".joined").exists()
    nothing = ready.run("leave")
    assert nothing.returncode == 1
    assert "nothing to leave" in nothing.stderr
    assert ready.run("join", url).returncode == 0
    assert ready.note().access_key == before


def test_worker_hands_over_again_what_redis_lost(ready):
    """A Redis that lost its data has the note again in seconds, and never after a leave."""
    assert ready.run("join", ready.registration_url()).returncode == 0
    before = ready.note()
    # When it starts to watch, the worker hands over once in any case.
    ready.worker.wait_for_line(r"agent\.handed_over", timeout_s=60)
    with ready.redis.client() as client:
        client.delete(keys.joined(ready.host_uuid))
    wait_until(lambda: ready.note() == before, 60, "the note")
    assert ready.run("leave").returncode == 0
    refused = ready.run("join", "--hand-over")
    assert refused.returncode == 1
    assert ready.note() is None


def test_two_joins_at_once_make_one_agent(ready):
    """The second one is told that the first one runs, or finds its agent."""
    url = ready.registration_url()
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(ready.run, "join", url) for _ in range(3)]
        done = [one.result() for one in runs]
    assert [one for one in done if one.returncode == 0]
    assert all("another" in one.stderr for one in done if one.returncode)
    assert len(ready.cattle.registers()) == 1


@pytest.mark.parametrize("words", [(), ("--credentials", "FOLDER")], ids=["", "and the option"])
def test_the_variable_may_name_the_folder_that_a_bundle_makes(rig, tmp_path, words):
    """Whoever sets it for all commands of a host sets it for the first one, too."""
    folder = tmp_path / "credentials"
    bundle = Bundle(
        host_uuid="host-1",
        redis_url=rig.redis.url.replace("redis://", "redis://cowpoke-host-host-1:password@"),
        host_key=host_key(rig.queue_key, "host-1"),
        cattle_url=rig.cattle_url,
    )
    words = [str(folder) if word == "FOLDER" else word for word in words]
    variables = {"QUEUE_KEY": "", "REDIS_URL": "", "COWPOKE_CREDENTIALS_DIR": str(folder)}
    stored = rig.run("join", "--bundle", "-", *words, stdin=bundle_text(bundle), **variables)
    assert stored.returncode == 0, stored.stderr
    assert (folder / "CATTLE_DOCKER_UUID").read_text() == "host-1"


def test_new_host_needs_only_its_bundle_and_the_url(rig, tmp_path):
    """The worker waits for nothing else; a bundle of another host is refused."""
    skip_without_selectors(rig.redis)
    hub = {"REDIS_URL": rig.redis.url, "QUEUE_KEY": rig.queue_key}
    arguments = ["hosts", "add", "--redis", rig.redis.url, "--cattle-url", rig.cattle_url]
    added = rig.run(*arguments, **hub)
    assert added.returncode == 0, added.stderr
    rig.bridge = rig.start_bridge()
    credentials = tmp_path / "credentials"
    stored = rig.run("join", "--bundle", "-", "--credentials", str(credentials), stdin=added.stdout)
    assert stored.returncode == 0, stored.stderr
    host = {"QUEUE_KEY": "", "REDIS_URL": "", "COWPOKE_CREDENTIALS_DIR": str(credentials)}
    rig.worker = rig.start_worker(**host)
    done = rig.run("join", rig.registration_url(), **host)
    assert done.returncode == 0, done.stdout + done.stderr
    assert rig.wait_host()["reportedUuid"] == (credentials / "CATTLE_DOCKER_UUID").read_text()
    other = rig.run(*arguments, **hub)
    refused = rig.run("join", "--bundle", "-", stdin=other.stdout, **host)
    assert refused.returncode == 1
    assert rig.host_uuid in refused.stderr
    for one in (added, other):
        uuid = one.stderr.rpartition("added host ")[2].split()[0]
        assert rig.run("hosts", "remove", uuid, "--yes", **hub).returncode == 0
