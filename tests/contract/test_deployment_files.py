"""The deployment's files agree with each other."""

import re
import tomllib
from pathlib import Path

import click
import pytest

from cowpoke.cli.main import main
from worker.settings import WorkerSettings

PROJECT_DIR = Path(__file__).parents[2]


def read(name: str) -> str:
    """The text of a file of the project."""
    return (PROJECT_DIR / name).read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    """Package -> version of a lock file."""
    return dict(re.findall(r"(?m)^([\w.-]+)==(\S+)", read(name)))


def test_both_locks_name_the_same_versions():
    """What runs in the image is what was tested."""
    everything, runtime = pins("requirements.lock"), pins("requirements-runtime.lock")
    assert runtime
    assert runtime == {name: everything.get(name) for name in runtime}


UNITS = ("bridge", "flower", "worker")
#: A Compose file, and what an operator copies to `.env` for it.
COMPOSE_FILES = {
    "docker-compose.yml": ".env.example",
    "deploy/compose/hub.yml": "deploy/compose/hub.env.example",
    "deploy/compose/host.yml": "deploy/compose/host.env.example",
}


@pytest.mark.parametrize(("file", "example"), COMPOSE_FILES.items())
def test_every_variable_of_a_compose_file_is_in_its_example(file, example):
    """It shows each variable an operator may set in `.env`; some are of Compose itself."""
    used = set(re.findall(r"\$\{([A-Z_0-9]+)", read(file)))
    shown = set(re.findall(r"(?m)^#?([A-Z_0-9]+)=", read(example)))
    of_compose = {"COMPOSE_FILE", "COMPOSE_PROJECT_NAME"}
    assert used - {"BUILD_NETWORK"} == shown - of_compose


def test_the_image_holds_what_the_programs_import():
    """Every package of ours is copied into the image and let into the build."""
    copied = set(re.findall(r"(?m)^COPY ([^-\s]\S*) ", read("Dockerfile")))
    let_in = set(re.findall(r"(?m)^!(\S+)", read(".dockerignore")))
    programs = {"cowpoke", "worker", "bridge", "simulator", "celeryconfig.py"}
    assert programs | {"pyproject.toml"} <= copied
    assert copied == let_in


def test_everything_names_this_version():
    """The labels of an image that is built without arguments, and the examples."""
    version = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    assert set(re.findall(r"(?m)^ARG VERSION=(\S+)$", read("Dockerfile"))) == {version}
    for file, example in list(COMPOSE_FILES.items())[1:]:
        for name in (file, example):
            assert set(re.findall(r"cowpoke:(\d[\w.]*)", read(name))) == {version}, name


@pytest.mark.parametrize("file", COMPOSE_FILES)
def test_every_service_has_a_log_with_a_limit(file):
    """Compose's anchors bring it: each service has one of them, or names it."""
    services = read(file).partition("\nservices:\n")[2].partition("\nvolumes:\n")[0]
    for name, text in re.findall(r"(?ms)^  ([\w-]+):[^\n]*\n(.*?)(?=^  [\w-]+:|\Z)", services):
        assert re.search(r"(?m)^    (logging: \*logging|<<: \*\w+)$", text), name
    assert "max-size" in read(file)


@pytest.mark.parametrize(
    "file", [*COMPOSE_FILES, *(f"deploy/systemd/cowpoke-{one}.service" for one in UNITS)]
)
def test_every_command_in_a_file_exists(file):
    """Also after a subcommand got another name."""
    text = re.sub(r"(?m)^ *#.*$", "", read(file))
    words = [word for word in re.findall(r"[^\s\"',\[\]()]+", text) if word != "-"]
    commands = []
    for at, word in enumerate(words):
        if (word == "cowpoke" and words[at - 1] != "user:") or word.endswith("/bin/cowpoke"):
            commands.append(named(words[at + 1 :]))
    assert commands
    assert None not in commands


def named(words: list[str]) -> click.Command | None:
    """The command of `cowpoke` that the words begin with; None if there is none."""
    command: click.Command = main
    for word in words:
        if not isinstance(command, click.Group):
            break
        found = command.get_command(click.Context(command), word)
        if found is None:
            return command if command.invoke_without_command else None
        command = found
    return command


def test_both_flowers_are_started_alike():
    """Flower's own `/metrics` needs no login, and its history ends with the container."""
    one, other = (
        re.search(r"(?ms)^  flower:\n(.*?)(?=^ {0,2}\S)", read(file))[1].strip()
        for file in ("docker-compose.yml", "deploy/compose/hub.yml")
    )
    assert "cowpoke" in one
    assert one == other


def worker_service(file: str = "docker-compose.yml") -> str:
    """The worker's part of a Compose file."""
    return re.search(r"(?ms)^  worker:[^\n]*\n(.*?)^  [\w#]", read(file))[1]


@pytest.mark.parametrize("section", ["cap_add", "security_opt", "volumes"])
def test_a_host_of_a_hub_has_the_same_worker(section):
    """But for where its credentials come from, and how many workers share a folder."""
    one, other = (
        set(reasons_of(worker_service(file), section))
        for file in COMPOSE_FILES
        if "hub" not in file
    )
    differing = {entry for entry in one ^ other if "/etc/cowpoke/" not in entry}
    assert differing == set()
    assert re.search(r"(?m)^    pid: host$", worker_service("deploy/compose/host.yml"))


def reasons_of(service: str, section: str) -> dict[str, str]:
    """Entry -> the comment above it, or above the entries that it belongs to."""
    text = re.search(rf"(?m)^    {section}:\n((?:^      .*\n)+)", service)[1]
    found, reason = {}, ""
    for line in text.splitlines():
        if (comment := line.strip()).startswith("#"):
            reason = comment
        elif line.strip().startswith("- "):
            found[line.strip().removeprefix("- ")] = reason
    return found


def test_the_worker_has_the_folders_of_a_rancher_host():
    """Parity B.6: state and RSA key of the host, sockets of storage drivers, the wait program."""
    mounted = {
        inside: mode
        for entry in reasons_of(worker_service(), "volumes")
        for inside, mode in [re.fullmatch(r".*?:(/[^:]+)(:ro)?", entry.split("}")[-1]).groups()]
    }
    writable = {
        *("/var/lib/cattle", "/var/lib/rancher/state", "/var/lib/rancher/etc"),
        *("/var/lib/rancher/volumes", "/var/run/rancher/storage", "/.r", "/var/run/docker.sock"),
    }
    assert {path for path, mode in mounted.items() if mode is None} == writable
    assert re.search(r"(?m)^  rancher-cni:\n    name: rancher-cni$", read("docker-compose.yml"))
    settings = WorkerSettings(CATTLE_HOME="/var/lib/cattle", CATTLE_STATE_DIR=state_dir())
    for path in (settings.docker_uuid_file, settings.host_key_file, settings.build_dir):
        assert any(path.is_relative_to(one) for one in writable)


def state_dir() -> str:
    """The state folder of the worker, which is that of the part that makes the credentials."""
    (found,) = set(re.findall(r"CATTLE_STATE_DIR: (\S+)", read("docker-compose.yml")))
    return found


def test_each_right_of_the_worker_has_a_reason():
    """Parity B.6: no more than it uses, and only the worker has any."""
    service = worker_service()
    assert set(reasons_of(service, "cap_add")) == {"SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE"}
    for section in ("cap_add", "security_opt"):
        assert all(reasons_of(service, section).values())
    assert re.search(r"(?m)^    # .*\n    pid: host$", service)
    others = read("docker-compose.yml").replace(service, "")
    for right in ("cap_add", "security_opt", "pid: host", "privileged"):
        assert right not in others
    assert "privileged" not in service
