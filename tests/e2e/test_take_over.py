"""`cowpoke join --take-over` and `leave --give-back`, with a stand-in named rancher-agent."""

import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from simulator.join_rig import JoinRig
from simulator.rig.containers import remove_containers
from simulator.rig.old_agent import OLD_AGENT, start_old_agent, state_of
from simulator.rig.processes import wait_until

UUID = "0d7b5f5c-3a57-4bd0-a2b1-2f2cb9d3a6f0"
PHYSICAL = "f6d0c1a2-55d3-4f0e-8c44-0c8e7e1f6a11"
REGISTER_KEY = "ab" * 64
AGENT = {"access_key": "old-agent-key", "secret_key": "old-agent-secret-71c2", "kind": "agent"}


@pytest.fixture
def rig(redis_server, engine, tmp_path):
    """A hub, and a host that has not joined it."""
    redis_server.client().flushall()
    with JoinRig(
        redis=redis_server,
        folder=tmp_path / "rancher",
        engine_environment=engine.environment,
        simulator={"SIMULATOR_AGENTS": json.dumps([AGENT])},
    ) as made:
        made.bridge = made.start_bridge()
        yield made


def rsa_key():
    """A key as the old agent makes it: PKCS#1."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


@pytest.fixture
def old_folder(tmp_path):
    """/var/lib/rancher of the old agent."""
    state = tmp_path / "old" / "state"
    state.mkdir(parents=True)
    (state / ".docker_uuid").write_text(UUID)
    (state / ".physical_host_uuid").write_text(f"{PHYSICAL}\n")
    (state / ".registration_token").write_text(f"{REGISTER_KEY}\n")
    ssl = tmp_path / "old" / "etc" / "ssl"
    ssl.mkdir(parents=True)
    (ssl / "host.key").write_bytes(rsa_key())
    return tmp_path / "old"


@pytest.fixture
def old_agent(rig, docker_client, test_image, old_folder):
    """The running container rancher-agent, and another container of the host."""
    variables = {
        "CATTLE_URL": rig.cattle_url,
        "CATTLE_ACCESS_KEY": AGENT["access_key"],
        "CATTLE_SECRET_KEY": AGENT["secret_key"],
        "CATTLE_AGENT_IP": "192.0.2.33",
        "CATTLE_HOST_LABELS": "zone=a&disk=ssd",
        "CATTLE_MEMORY_OVERRIDE": "1073741824",
        "CATTLE_SCHEDULER_IPS": "",
    }
    made = []
    for name, environment in ((OLD_AGENT, variables), ("users-container", {})):
        made.append(start_old_agent(docker_client, test_image, old_folder, environment, name=name))
    yield made[0]
    remove_containers(docker_client, *made)


def test_dry_run_shows_the_steps_and_touches_nothing(rig, docker_client, old_agent):
    """Secrets are not among the steps."""
    before = state_of(docker_client, "rancher-agent")
    plan = rig.run("join", "--take-over", "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert UUID in plan.stdout
    assert "would stop the container rancher-agent" in plan.stdout
    assert "--give-back" in plan.stdout
    assert AGENT["secret_key"] not in plan.stdout
    assert REGISTER_KEY not in plan.stdout
    assert not rig.folder.exists()
    assert state_of(docker_client, "rancher-agent") == before


def test_the_same_host_is_taken_over_and_given_back(rig, docker_client, old_agent, tmp_path):
    """B.6 register: same keys, uuids, address and labels; no other container is touched."""
    users = state_of(docker_client, "users-container")
    credentials = tmp_path / "credentials"
    arguments = ["join", "--take-over", "--credentials", str(credentials)]
    # The worker is to start with the identity that the take-over prepares.
    early = rig.run(*arguments, "--wait", "0.5")
    assert early.returncode == 1
    assert "no worker of host" in early.stderr
    assert state_of(docker_client, "rancher-agent")[:2] == (True, "always")
    assert (rig.state_dir / ".docker_uuid").read_text() == UUID
    assert (rig.state_dir / ".physical_host_uuid").read_text() == PHYSICAL
    assert (rig.state_dir / ".registration_token").read_text() == f"{REGISTER_KEY}\n"
    key = rig.folder / "etc" / "ssl" / "host.key"
    assert "RSA PRIVATE" in key.read_text()
    assert key.stat().st_mode & 0o777 == 0o400
    kept = {path.name: path.read_text() for path in credentials.iterdir()}
    assert kept == {
        "CATTLE_AGENT_IP": "192.0.2.33",
        "CATTLE_HOST_LABELS": "zone=a&disk=ssd",
        "CATTLE_MEMORY_OVERRIDE": "1073741824",
    }
    rig.start_worker(COWPOKE_CREDENTIALS_DIR=str(credentials))
    done = rig.run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "restart the worker" not in done.stdout
    assert state_of(docker_client, "rancher-agent")[:2] == (False, "no")
    note = rig.note()
    assert (note.host_uuid, note.access_key) == (UUID, AGENT["access_key"])
    host = rig.wait_host()
    assert host["reportedUuid"] == UUID
    assert host["physicalHostUuid"] == PHYSICAL
    assert host["labels"]["zone"] == "a"
    assert host["memory"] == 1073741824
    assert rig.run(*arguments).returncode == 0
    back = rig.run("leave", "--give-back")
    assert back.returncode == 0, back.stdout + back.stderr
    assert state_of(docker_client, "rancher-agent")[:2] == (True, "always")
    assert rig.note() is None
    assert not (rig.state_dir / ".joined").exists()
    assert state_of(docker_client, "users-container") == users
    assert AGENT["secret_key"] not in done.stdout + done.stderr + back.stdout


def test_worker_that_runs_already_keeps_the_address(rig, old_agent, tmp_path):
    """Without a folder the other settings are named; a worker older than the folder is told of."""
    rig.start_worker(CATTLE_DOCKER_UUID=UUID)
    done = rig.run("join", "--take-over")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not kept: CATTLE_AGENT_IP, CATTLE_HOST_LABELS, CATTLE_MEMORY_OVERRIDE" in done.stdout
    rig.wait_host()
    wait_until(lambda: rig.hosts()[0]["agentIpAddress"] == "192.0.2.33", 30, "the address")
    done = rig.run("join", "--take-over", "--credentials", str(tmp_path / "credentials"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "restart the worker" in done.stdout


def test_failed_take_over_starts_the_old_agent_again(rig, docker_client, old_agent):
    """B.6 register: such as when no bridge takes the host; the reply says how to go on."""
    early = rig.run("join", "--take-over", "--wait", "0.1")
    assert early.returncode == 1
    rig.start_worker()
    rig.bridge.stop()
    # A bridge of another cattle answers, and does not take the host.
    rig.start_bridge(CATTLE_URL="http://192.0.2.9:8080/v1")
    failed = rig.run("join", "--take-over", "--wait", "20")
    assert failed.returncode == 1
    assert "no bridge took the host" in failed.stderr
    assert state_of(docker_client, "rancher-agent")[:2] == (True, "always")
    assert rig.note() is None
    assert not (rig.state_dir / ".joined").exists()


def test_dead_keys_leave_the_old_agent_alone(rig, docker_client, old_agent):
    """Rancher removed the host before."""
    rig.run("join", "--take-over", "--wait", "0.1")
    rig.start_worker()
    (agent,) = [one for one in rig.cattle.agents() if one["access_key"] == AGENT["access_key"]]
    rig.cattle.remove_agent(agent["id"])
    refused = rig.run("join", "--take-over", "--wait", "30")
    assert refused.returncode == 3
    assert "does not accept the keys" in refused.stderr
    assert state_of(docker_client, "rancher-agent")[:2] == (True, "always")


def test_join_beside_the_running_old_agent_is_refused(rig, docker_client, old_agent):
    """With the register key of the old agent both would get every event."""
    rig.start_worker()
    wait_until((rig.state_dir / ".docker_uuid").exists, 30, "a uuid")
    refused = rig.run("join", rig.registration_url())
    assert refused.returncode == 1
    assert "--take-over" in refused.stderr
    assert not (rig.state_dir / ".registration_token").exists(), "nothing was registered"
    docker_client.update_container("rancher-agent", restart_policy={"Name": "no"})
    docker_client.stop("rancher-agent", timeout=1)
    done = rig.run("join", rig.registration_url())
    assert done.returncode == 0, done.stderr


def test_machine_that_is_another_host_is_refused(rig, old_agent):
    """Its worker would go on as the other host."""
    rig.state_dir.mkdir(parents=True)
    (rig.state_dir / ".docker_uuid").write_text("another-host-uuid")
    refused = rig.run("join", "--take-over")
    assert refused.returncode == 1
    assert "another-host-uuid" in refused.stderr
    assert UUID in refused.stderr


def test_host_without_the_container_is_told_what_to_do(rig):
    """For a take-over and for a give-back."""
    refused = rig.run("join", "--take-over")
    assert refused.returncode == 1
    assert "no container rancher-agent" in refused.stderr
    rig.start_worker()
    wait_until((rig.state_dir / ".docker_uuid").exists, 30, "a uuid")
    refused = rig.run("leave", "--give-back")
    assert refused.returncode == 1
    assert "no container rancher-agent" in refused.stderr
