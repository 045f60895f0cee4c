"""The command of Rancher's page with our image: settings, the container, and its programs."""

import stat

import pytest

from simulator.join_rig import JoinRig
from simulator.rig.containers import remove_containers
from simulator.rig.loopback_server import free_port
from simulator.rig.processes import wait_until
from simulator.rig.redis_server import find_redis_server
from tests.redis_users import skip_without_selectors

NAME = "cowpoke-agent"


@pytest.fixture
def rig(redis_server, engine, tmp_path):
    """A cattle and a host; no hub."""
    with JoinRig(
        redis=redis_server, folder=tmp_path / "rancher", engine_environment=engine.environment
    ) as made:
        yield made


@pytest.fixture
def image(docker_client, test_image):
    """An image that takes any argument and runs on; the containers of the command go at the end."""
    made = docker_client.create_container(test_image, command=["/bin/true"])["Id"]
    docker_client.commit(
        made, repository="example/agent", tag="1", changes=['ENTRYPOINT ["/sleep.sh"]']
    )
    remove_containers(docker_client, made)
    yield "example/agent:1"
    for one in docker_client.containers(all=True, filters={"name": NAME}):
        remove_containers(docker_client, one["Id"])
    docker_client.remove_image("example/agent:1", force=True)


@pytest.fixture
def path(monkeypatch, tmp_path):
    """A PATH with a redis-server, as the image has one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "redis-server").symlink_to(find_redis_server())
    return f"{folder}:/usr/local/bin:/usr/bin:/bin"


def test_command_prepares_the_host_and_starts_the_long_lived_container(
    rig, image, path, docker_client
):
    """Nothing secret is in its environment or its arguments."""
    skip_without_selectors(rig.redis)
    variables = {"CATTLE_STATE_DIR": str(rig.state_dir), "RANCHER_AGENT_IMAGE": image}
    given = {"REDIS_URL": "", "QUEUE_KEY": "", "PATH": path, "CATTLE_AGENT_IP": "192.0.2.4"}
    url = rig.registration_url()
    for _ in range(2):
        # No program of ours is in the stand-in: the wait ends.
        waited = rig.run("agent", url, "--wait", "0.1", **variables, **given)
        assert waited.returncode == 1
        found = docker_client.inspect_container(NAME)
        if found["State"]["Running"]:
            assert f"docker logs {NAME}" in waited.stderr
        else:
            # An Engine inside of a container may not give the rights that this one needs.
            assert "cannot start container" in waited.stderr
    assert found["Config"]["Cmd"] == ["run"]
    assert found["Config"]["Healthcheck"]["Test"] == ["CMD", "cowpoke", "worker", "health"]
    host = found["HostConfig"]
    assert host["RestartPolicy"]["Name"] == "always"
    assert (host["NetworkMode"], host["PidMode"], host["Privileged"]) == ("host", "host", True)
    targets = {bind.split(":")[1] for bind in host["Binds"]}
    assert {str(rig.folder), "/.r", "/var/run/rancher/storage"} <= targets
    credentials = rig.folder / "cowpoke" / "credentials"
    assert (credentials / "worker" / "CATTLE_AGENT_IP").read_text() == "192.0.2.4"
    assert (credentials / "bridge" / "CATTLE_URL").read_text() == rig.cattle_url
    token = url.rpartition("/")[2]
    secrets = [path for path in credentials.rglob("*") if path.is_file()]
    assert all(
        stat.S_IMODE(one.stat().st_mode) & 0o007 == 0 or one.suffix == ".acl" for one in secrets
    )
    assert token not in str(found["Config"])
    assert (credentials / "worker" / "CATTLE_REGISTRATION_URL").read_text() == url
    # `run` is what the container does: Redis, bridge and worker of this host, which joins.
    port = str(free_port())
    for part in ("bridge", "worker"):
        file = credentials / part / "REDIS_URL"
        text = file.read_text().replace(":9346/", f":{port}/")
        file.chmod(0o600)
        file.write_text(text)
    environment = {**rig.engine_environment, **variables, "PATH": path}
    agent = rig.program("cowpoke", "agent", "run", "--redis-port", port, environment=environment)
    assert rig.wait_host()["reportedUuid"] == rig.host_uuid
    wait_until((rig.state_dir / ".joined").exists, 30, "the keys")
    agent.stop()
    upgraded = rig.run("agent", "upgrade", **variables)
    assert upgraded.returncode == 0 or "cannot start container" in upgraded.stderr
    assert docker_client.inspect_container(NAME)["Id"] != found["Id"]


@pytest.mark.parametrize("in_file", [True, False], ids=["file", "variable"])
def test_host_with_a_bundle_gets_no_redis_of_its_own(rig, image, docker_client, in_file):
    """The bundle is in a file of the mounted folder, or in a variable; it reaches no container."""
    skip_without_selectors(rig.redis)
    hub = {"REDIS_URL": rig.redis.url, "QUEUE_KEY": rig.queue_key}
    added = rig.run("hosts", "add", "--redis", rig.redis.url, "--cattle-url", rig.cattle_url, **hub)
    uuid = added.stderr.rpartition("added host ")[2].split()[0]
    given = {} if in_file else {"COWPOKE_BUNDLE": added.stdout}
    if in_file:
        (rig.folder / "cowpoke").mkdir(parents=True)
        (rig.folder / "cowpoke" / "bundle").write_text(added.stdout)
    variables = {"CATTLE_STATE_DIR": str(rig.state_dir), "RANCHER_AGENT_IMAGE": image}
    none = {"REDIS_URL": "", "QUEUE_KEY": ""}
    rig.run("agent", rig.registration_url(), "--wait", "0.1", **variables, **none, **given)
    credentials = rig.folder / "cowpoke" / "credentials"
    assert {path.name for path in credentials.iterdir()} == {"worker"}
    assert (credentials / "worker" / "CATTLE_DOCKER_UUID").read_text() == uuid
    key = (credentials / "worker" / "HOST_KEY").read_text()
    assert key not in str(docker_client.inspect_container(NAME))
    assert rig.run("hosts", "remove", uuid, "--yes", **hub).returncode == 0


def test_host_of_another_server_is_not_moved(rig, docker_client):
    """Its worker would get the url of the new server, and keep the agent of the old one."""
    kept = rig.folder / "cowpoke" / "credentials" / "worker" / "CATTLE_URL"
    kept.parent.mkdir(parents=True)
    kept.write_text("http://192.0.2.9:8080/v1")
    rig.state_dir.mkdir()
    (rig.state_dir / ".joined").write_text("sealed")
    variables = {"CATTLE_STATE_DIR": str(rig.state_dir), "RANCHER_AGENT_IMAGE": "example/none:1"}
    refused = rig.run("agent", rig.registration_url(), **variables, REDIS_URL="", QUEUE_KEY="")
    assert refused.returncode == 1
    assert f"docker exec {NAME} cowpoke leave" in refused.stderr
    assert kept.read_text() == "http://192.0.2.9:8080/v1"
    assert docker_client.containers(all=True, filters={"name": NAME}) == []


def test_arguments_of_the_old_image_are_understood(rig):
    """The others are refused with the list."""
    assert "VAR_LIB_WRITABLE" in rig.run("agent", "inspect-host").stdout
    assert rig.run("agent", "state").returncode == 0
    refused = rig.run("agent", "register")
    assert refused.returncode == 1
    assert "RANCHER_URL" in refused.stderr
    refused = rig.run("agent", "http://localhost/v1/scripts/ABC")
    assert "localhost" in refused.stderr
    assert rig.run("agent", "nonsense").returncode == 2
