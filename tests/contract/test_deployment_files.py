"""The deployment's files agree with each other."""

import re
from pathlib import Path

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


def test_every_variable_of_the_stack_is_in_the_example():
    """`.env.example` shows each variable an operator may set in `.env`."""
    used = set(re.findall(r"\$\{([A-Z_]+)", read("docker-compose.yml")))
    shown = set(re.findall(r"(?m)^#?([A-Z_]+)=", read(".env.example")))
    assert used - {"BUILD_NETWORK"} == shown


def test_the_image_holds_what_the_programs_import():
    """Every package of ours is copied into the image and let into the build."""
    copied = set(re.findall(r"(?m)^COPY (\S+) ", read("Dockerfile")))
    let_in = set(re.findall(r"(?m)^!(\S+)", read(".dockerignore")))
    programs = {"cowpoke", "worker", "bridge", "simulator", "celeryconfig.py"}
    assert programs | {"pyproject.toml"} <= copied
    assert copied == let_in


def worker_service() -> str:
    """The worker's part of the Compose file."""
    return re.search(r"(?ms)^  worker:[^\n]*\n(.*?)^  \w", read("docker-compose.yml"))[1]


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
