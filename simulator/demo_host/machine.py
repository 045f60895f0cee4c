"""What the demo needs of this machine, found out before anything is shown.

The stand-in for plugin-manager makes network interfaces in the namespaces of containers. That needs
root, network namespaces, and an Engine whose containers have processes and files on this machine.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker.errors import APIError, NotFound

from simulator.plugin_manager import links
from simulator.rig.containers import remove_containers
from simulator.rig.errors import RigError
from simulator.rig.old_agent import OLD_AGENT
from simulator.rig.packages import can_install, find_program, install_packages
from worker.create.managed_network import WAIT_VOLUME

if TYPE_CHECKING:
    import docker

    from simulator.rig.docker_engine import DockerEngine

#: Program -> its package on Debian and Ubuntu.
_PROGRAMS = {"ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux"}
#: Any address: the probe is alone in its network.
_PROBE_ADDRESS = ipaddress.IPv4Interface("10.77.255.2/16")
OWN_ENGINE = "for an Engine of its own: DOCKER_HOST=unix:///none make demo-host"


class UnfitMachineError(RigError):
    """The demo cannot run here; the message says what is missing."""


def check_rights() -> None:
    """Check what takes no Engine to find out.

    Errors:
        UnfitMachineError: not root, no network namespaces, or a program is missing.
    """
    if os.geteuid() != 0:
        raise UnfitMachineError(
            "root is needed, because a managed network is made in the network namespaces of"
            " containers; run `sudo make demo-host` (`make demo` works without root)"
        )
    missing = {package for name, package in _PROGRAMS.items() if find_program(name) is None}
    if missing:
        if not can_install():
            packages = " and ".join(sorted(missing))
            raise UnfitMachineError(f"install {packages} (names of Debian and Ubuntu)")
        install_packages(*sorted(missing))
    # A namespace and a link between two: what the stand-in makes for each container.
    link = ("link", "add", "cpa", "type", "veth", "peer", "name", "cpb")
    problem = _output("unshare", "--net", find_program("ip") or "ip", *link)
    if problem:
        raise UnfitMachineError(
            f"network namespaces cannot be made here ({problem}); run it as root of a machine, or"
            " in a privileged container"
        )


def check_engine(engine: DockerEngine, client: docker.APIClient) -> None:
    """Check that an Engine is on this machine and has no agent of its own.

    Errors: UnfitMachineError.
    """
    if not engine.host.startswith("unix://"):
        raise UnfitMachineError(
            f"the Engine at {engine.host} is not on this machine, as far as its address says, and"
            f" the demo needs the processes of its containers; {OWN_ENGINE}"
        )
    with contextlib.suppress(NotFound):
        client.inspect_container(OLD_AGENT)
        raise UnfitMachineError(
            f"the Engine at {engine.host} has a container {OLD_AGENT}, and the demo needs that"
            f" name; {OWN_ENGINE}"
        )


def check_containers(client: docker.APIClient, image: str, folder: Path) -> None:
    """Start a container, find its process and its files, and make it a network interface.

    Errors: UnfitMachineError.
    """
    (folder / "seen").touch()
    config = client.create_host_config(network_mode="none", binds=[f"{folder}:/probe"])
    container_id = client.create_container(image, ["/sleep.sh"], host_config=config)["Id"]
    try:
        client.start(container_id)
        pid = client.inspect_container(container_id)["State"]["Pid"]
        if not Path(f"/proc/{pid}/root/probe/seen").exists():
            raise UnfitMachineError(
                "the Engine runs its containers with other processes or files than those of this"
                f" machine, such as from inside a container; {OWN_ENGINE}"
            )
        links.plug(pid, container_id, _PROBE_ADDRESS, None)
    except links.PlugError as error:
        raise UnfitMachineError(
            f"a container cannot be given a network interface: {error}"
        ) from error
    finally:
        remove_containers(client, container_id)


def remove_all_of(client: docker.APIClient, image: str) -> None:
    """Remove every container of the demo: its image is its own."""
    found: list[dict[str, Any]] = client.containers(all=True, filters={"ancestor": image})
    remove_containers(client, *(one["Id"] for one in found))


def has_wait_volume(client: docker.APIClient) -> bool:
    """Return whether the Engine has the volume with the wait program."""
    with contextlib.suppress(NotFound):
        return bool(client.inspect_volume(WAIT_VOLUME))
    return False


def remove_wait_volume(client: docker.APIClient) -> None:
    """Remove the volume with the wait program, which the demo's worker made."""
    with contextlib.suppress(APIError):  # gone, or used by somebody else meanwhile
        client.remove_volume(WAIT_VOLUME)


def _output(program: str, *arguments: str) -> str:
    """Run a program; return why it failed, or nothing."""
    done = subprocess.run(  # noqa: S603 -- constants of ours
        [find_program(program) or program, *arguments], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"
