"""Containers in managed networks on a real Engine, connected by the plugin-manager stand-in.

Row numbers (B) refer to docs/parity.md.
"""

import contextlib
import io
import tarfile
import uuid

import docker.errors
import pytest

from simulator.plugin_manager.program import plugin_manager, start
from simulator.rig.image import find_static_busybox
from simulator.rig.processes import wait_until
from tests.factories import image
from tests.managed_networks import (
    ADDRESS,
    WITHOUT_SUBNET,
    activated,
    managed,
)
from worker.errors import EngineError, NetworkFailedError, NotYetError

STATE_VARIABLE = "WORKER_NETWORK_STATE_DIR"


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory):
    """The folder of plugin-manager's state files."""
    return tmp_path_factory.mktemp("cni")


@pytest.fixture(scope="module")
def connecting(engine_host, state_dir):
    """The stand-in, which connects what starts."""
    with start(plugin_manager(engine_host, state_dir)) as program:
        yield program


@pytest.fixture
def host(connecting, make_host, state_dir):
    """A host whose network services run."""
    return make_host(**{STATE_VARIABLE: str(state_dir)})


@pytest.fixture
def make_image(docker_client):
    """Build an image: a static `/busybox`, then these lines of a Dockerfile; its name."""
    names = []

    def make(*lines):
        names.append(f"cowpoke-command-{uuid.uuid4().hex[:12]}:1")
        context = io.BytesIO()
        dockerfile = "\n".join(["FROM scratch", "COPY busybox /busybox", *lines, ""]).encode()
        files = {"Dockerfile": dockerfile, "busybox": find_static_busybox().read_bytes()}
        files["own"] = b'#!/busybox sh\necho own "$0" "$@"\n'
        with tarfile.open(fileobj=context, mode="w") as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o755
                tar.addfile(entry, io.BytesIO(content))
        context.seek(0)
        list(docker_client.build(fileobj=context, custom_context=True, tag=names[-1], rm=True))
        return names[-1]

    yield make
    for name in names:
        with contextlib.suppress(docker.errors.NotFound):
            docker_client.remove_image(name, force=True)


@pytest.fixture
def output_of(docker_client):
    """Wait until the container of a report ended: its exit code and its output."""

    def read(report):
        code = docker_client.wait(report["externalId"], timeout=30)["StatusCode"]
        return code, docker_client.logs(report["externalId"]).decode()

    return read


def test_container_is_connected_before_its_program_runs(
    host, new_instance, containers_of, output_of
):
    """B.2: labels, mode none with DNS, no ports; the program finds address and default route."""
    script = "ip -4 addr show eth0; ip route; cat /etc/resolv.conf; sleep 1"
    data = managed(
        new_instance,
        {"command": ["sh", "-c", script], "dns": ["169.254.169.250"], "dnsSearch": ["x.test"]},
        hostname="web-1",
        ports=[{"privatePort": 80, "publicPort": 8080, "protocol": "tcp"}],
    )
    report = activated(host, data)
    (container,) = containers_of(data)
    assert report["+data"]["+fields"]["dockerIp"] == ADDRESS
    assert container["HostConfig"]["NetworkMode"] == "none"
    assert container["HostConfig"]["Binds"] == ["rancher-cni:/.r:ro"]
    assert not container["Config"].get("NetworkDisabled")
    assert not container["HostConfig"]["PortBindings"]
    labels = container["Config"]["Labels"]
    assert labels["io.rancher.cni.wait"] == "true"
    assert labels["io.rancher.cni.network"] == "net"
    assert labels["io.rancher.container.ip"] == "10.42.1.2/16"
    assert labels["io.rancher.container.mac_address"] == "02:03:04:05:06:07"
    code, output = output_of(report)
    assert code == 0
    assert "inet 10.42.1.2/16" in output
    assert "default via 10.42.0.1 dev eth0" in output
    assert "nameserver 169.254.169.250" in output
    assert "search x.test" in output


@pytest.mark.parametrize(
    ("lines", "fields", "words"),
    [
        pytest.param([], {"command": ["/busybox", "echo", "a"]}, "a", id="command only"),
        pytest.param(
            ['CMD ["/busybox","echo","b c"]'],
            {},
            "b c",
            id="command of the image, neither in request",
        ),
        pytest.param(
            ['ENTRYPOINT ["/busybox","echo","d"]'], {}, "d", id="entry point of the image only"
        ),
        pytest.param(
            ['ENTRYPOINT ["/busybox","echo"]', 'CMD ["e"]'], {}, "e", id="both of the image"
        ),
        pytest.param(
            ['ENTRYPOINT ["/busybox","echo"]', 'CMD ["e"]'],
            {"command": ["f"]},
            "f",
            id="command beside the entry point of the image",
        ),
        pytest.param(
            ['ENTRYPOINT ["/busybox","false"]', 'CMD ["e"]'],
            {"entryPoint": ["/busybox", "echo", "g"]},
            "g",
            id="own entry point drops the command of the image",
        ),
        pytest.param(
            ['CMD ["x"]'],
            {"entryPoint": ["/busybox", "echo"], "command": ["h", "i  j"]},
            "h i  j",
            id="both in the request",
        ),
        pytest.param(
            ['ENTRYPOINT ["/busybox","false"]', 'CMD ["x"]'],
            {"entryPoint": [""], "command": ["/busybox", "echo", "k"]},
            "k",
            id="empty entry point drops the image's",
        ),
    ],
)
def test_entry_points_and_commands_run_as_without_the_wait_program(
    host, new_instance, make_image, output_of, lines, fields, words
):
    """B.2: Docker's own rules for entry point and command hold; no shell is needed in the image."""
    data = managed(new_instance, fields, image=image(make_image(*lines)))
    code, output = output_of(activated(host, data))
    assert (code, output) == (0, f"{words}\n")


def test_container_without_any_command_is_left_alone(host, new_instance, make_image):
    """B.2: the Engine's own error comes, not one of the wait program."""
    with pytest.raises(EngineError, match=r"[Nn]o command specified"):
        activated(host, managed(new_instance, {}, image=image(make_image())))


def test_user_programs_named_like_tools_run(host, new_instance, make_image, output_of):
    """B.2: `httpd`, `nc` and `test` are looked up in the PATH of the user's container."""
    lines = [
        *(f"COPY own /own/bin/{name}" for name in ("httpd", "nc", "test")),
        "ENV PATH=/none:/own/bin",
    ]
    name = make_image(*lines)
    for program in ("httpd", "nc", "test"):
        data = managed(new_instance, {"command": [program, "-p", "80"]}, image=image(name))
        code, output = output_of(activated(host, data))
        assert (code, output) == (0, f"own /own/bin/{program} -p 80\n")


def test_environment_and_process_are_the_users(host, new_instance, output_of):
    """B.2: names that no shell accepts stay, nothing is added, and the program is process 1."""
    fields = {
        "command": ["sh", "-c", "tr '\\0' '\\n' </proc/1/environ; echo pid $$; echo $0 $#"],
        "environment": {"discovery.type": "single-node", "LINES_": "1\n2"},
        "entryPoint": None,
    }
    code, output = output_of(activated(host, managed(new_instance, fields)))
    assert code == 0
    lines = output.splitlines()
    assert "discovery.type=single-node" in lines
    assert "pid 1" in lines
    names = {line.partition("=")[0] for line in lines if "=" in line}
    assert names == {"PATH", "HOSTNAME", "HOME", "discovery.type", "LINES_"}


@pytest.mark.parametrize(
    ("command", "code"),
    [
        pytest.param(["sh", "-c", "exit 7"], 7, id="its own"),
        pytest.param(["no-such-program"], 127, id="not found"),
        pytest.param(["/etc/passwd"], 126, id="not executable"),
    ],
)
def test_exit_codes_are_those_of_a_shell(host, new_instance, output_of, command, code):
    """B.2: the code of the user's program; 127 and 126 when it cannot be run."""
    report = activated(host, managed(new_instance, {"command": command}))
    assert output_of(report)[0] == code


def test_stop_signal_reaches_the_program(host, new_instance, docker_client, output_of):
    """B.2: a program in the container is stopped by the signal, not killed after the timeout."""
    report = activated(host, managed(new_instance, {"command": ["/sleep.sh"]}))
    docker_client.stop(report["externalId"], timeout=20)
    assert output_of(report)[0] == 0


def test_volume_of_the_user_on_the_folder_is_dropped(host, new_instance, containers_of):
    """B.2: nothing hides the wait program; the user is told."""
    data = managed(new_instance, {"dataVolumes": ["/tmp:/.r/", "/tmp:/data:ro", "/.r"]})
    activated(host, data)
    (container,) = containers_of(data)
    assert container["HostConfig"]["Binds"] == ["/tmp:/data:ro", "rancher-cni:/.r:ro"]
    assert any("/.r" in warning for warning in host.warned)


def test_volume_driver_of_the_user_does_not_apply_to_the_wait_program(host, new_instance):
    """B.2: the volume is the Engine's own, also beside `volumeDriver`."""
    report = activated(host, managed(new_instance, {"volumeDriver": "no-such-driver"}))
    assert report["+data"]["+fields"]["dockerIp"] == ADDRESS


@pytest.mark.parametrize("mode", ["full", "interface", "file"])
def test_address_is_found_in_the_file_or_in_the_namespace(host, new_instance, mode):
    """B.2: without subnets the reply's address is cattle's only one; it is never empty."""
    report = activated(host, managed(new_instance, mode=mode, card=WITHOUT_SUBNET))
    assert report["+data"]["+fields"]["dockerIp"].startswith("10.77.")


def test_error_of_cni_is_the_reply(host, new_instance):
    """B.2: plugin-manager's text, as soon as it gives up."""
    with pytest.raises(NetworkFailedError, match="Couldn't bring up network: stand-in: no address"):
        activated(host, managed(new_instance, mode="error"))


def test_event_that_changes_nothing_reports_an_unconnected_container(host, new_instance):
    """B.2: the same container by a no-op is a report; cattle keeps its address."""
    data = managed(new_instance, mode="error", card=WITHOUT_SUBNET)
    with pytest.raises(NetworkFailedError):
        activated(host, data)
    report = activated(host, {**data, "processData": {"containerNoOpEvent": True}})
    assert report["+data"]["dockerInspect"]["State"]["Running"] is True
    assert "dockerIp" not in report["+data"]["+fields"]


@pytest.mark.parametrize("has_subnet", [True, False])
def test_wait_for_the_address_ends(make_host, connecting, state_dir, new_instance, has_subnet):
    """B.2: with subnets cattle's own address is reported, without them it is an error."""
    host = make_host(**{STATE_VARIABLE: str(state_dir), "WORKER_NETWORK_ADDRESS_WAIT_S": "2"})
    data = managed(new_instance, mode="nothing", card={} if has_subnet else WITHOUT_SUBNET)
    if has_subnet:
        assert activated(host, data)["+data"]["+fields"]["dockerIp"] == ADDRESS
    else:
        with pytest.raises(NetworkFailedError, match="Timeout getting IP address"):
            activated(host, data)


def test_container_that_ended_meanwhile_is_a_success(host, new_instance, docker_client):
    """B.2: stopped while it waits for the network, it ends at once; the event starts it no more."""
    data = managed(new_instance, mode="nothing", card=WITHOUT_SUBNET)
    with pytest.raises(NotYetError):
        host.run("compute.instance.activate", data, event_id="the-event")
    (container,) = docker_client.containers(
        filters={"label": f"io.rancher.container.uuid={_uuid(data)}"}
    )
    docker_client.stop(container["Id"], timeout=20)
    state = docker_client.inspect_container(container["Id"])["State"]
    assert (state["Running"], state["ExitCode"]) == (False, 143)
    reply = host.run("compute.instance.activate", data, event_id="the-event")
    report = reply["instanceHostMap"]["instance"]
    assert report["+data"]["dockerInspect"]["State"]["Running"] is False
    assert report["+data"]["+fields"]["dockerIp"] is None
    with pytest.raises(NotYetError):  # cattle's next event starts it
        host.run("compute.instance.activate", data, event_id="the-next-event")


def test_restart_by_the_engine_waits_for_the_network_again(host, new_instance, docker_client):
    """B.2: a new start has a new namespace and a new state file."""
    fields = {
        "command": ["sh", "-c", "ip route | grep default; sleep 1; exit 1"],
        "restartPolicy": {"name": "always"},
    }
    data = managed(new_instance, fields)
    report = activated(host, data)

    def restarts():
        return docker_client.inspect_container(report["externalId"])["RestartCount"] >= 2

    wait_until(restarts, 30, "two restarts")
    again = activated(host, {**data, "processData": {"containerNoOpEvent": True}})
    assert again["+data"]["+fields"]["dockerIp"] == ADDRESS
    output = docker_client.logs(report["externalId"]).decode()
    assert output.splitlines() == ["default via 10.42.0.1 dev eth0 "] * len(output.splitlines())


def test_sidekick_in_the_network_of_the_container(host, new_instance, docker_client, output_of):
    """B.2: it has no wait program of its own and finds the network that is there."""
    main = managed(new_instance)
    activated(host, main)
    instance = main["instanceHostMap"]["instance"]
    sidekick = new_instance(
        {"command": ["sh", "-c", "ip -4 addr show eth0"]},
        nics=[{"network": {"kind": "dockerContainer"}}],
        networkContainer={"uuid": instance["uuid"], "name": instance["name"]},
    )
    report = activated(host, sidekick)
    code, output = output_of(report)
    assert code == 0
    assert f"inet {ADDRESS}/16" in output


def test_exposed_ports_of_the_image_are_reported(host, new_instance, make_image):
    """B.2: cattle learns what the image exposes; nothing is published by Docker."""
    name = make_image("EXPOSE 80 53/udp", 'CMD ["/busybox", "sleep", "60"]')
    data = managed(new_instance, image=image(name))
    report = activated(host, data)
    assert report["+data"]["+fields"]["dockerPorts"] == ["53/udp", "80/tcp"]


def test_limit_ends_the_wait_of_a_container(
    make_host, connecting, state_dir, new_instance, output_of
):
    """B.2: a network that never comes is told in the log of the container, not waited for ever."""
    host = make_host(
        **{
            STATE_VARIABLE: str(state_dir),
            "WORKER_NETWORK_WAIT_LIMIT_S": "1",
            "WORKER_NETWORK_ADDRESS_WAIT_S": "0",
        }
    )
    code, output = output_of(activated(host, managed(new_instance, mode="nothing")))
    assert code == 124
    assert "cowpoke: no network after 1 s: there is no interface eth0" in output


def _uuid(data):
    return data["instanceHostMap"]["instance"]["uuid"]
