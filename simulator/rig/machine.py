"""A machine of its own, as far as the network goes: a network namespace.

Programs and Engines of a machine share the files and process ids of the real one, and nothing else
of its network: not even loopback. A hub is also the switch that connects its hosts.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from simulator.rig.engine_leftovers import run_ip
from simulator.rig.errors import RigError
from simulator.rig.packages import find_program
from simulator.rig.processes import dies_with_parent, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from types import TracebackType

START_TIMEOUT_S = 15
#: The name of a machine's own end of its link, in its namespace.
LINK = "eth0"
_SWITCH = "switch0"
_CLONE_NEWNET = 0x40000000

T = TypeVar("T")


class MachineError(RigError):
    """A network namespace cannot be made here."""


class Machine:
    """A network namespace, held by a process that ends with this one. Needs root."""

    def __init__(self, name: str, address: ipaddress.IPv4Interface) -> None:
        self.name = name
        self.address = address
        self._holder: subprocess.Popen[bytes] | None = None
        self._thread: ThreadPoolExecutor | None = None

    @property
    def ip(self) -> str:
        """Its address, without the prefix."""
        return str(self.address.ip)

    @property
    def enter(self) -> tuple[str, ...]:
        """The command that runs a program on this machine."""
        if self._holder is None:
            raise MachineError(f"the machine {self.name} has not been started")
        nsenter = find_program("nsenter") or "nsenter"
        return (nsenter, f"--net=/proc/{self._holder.pid}/ns/net", "--")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Make the namespace, with loopback.

        Errors: MachineError.
        """
        if os.geteuid() != 0:
            raise MachineError("a network namespace cannot be made here: root is needed")
        own = Path("/proc/self/ns/net").readlink()
        unshare = find_program("unshare") or "unshare"
        self._holder = subprocess.Popen(
            dies_with_parent([unshare, "--net", "sleep", "infinity"]), stdin=subprocess.DEVNULL
        )
        there = Path(f"/proc/{self._holder.pid}/ns/net")
        try:
            wait_until(lambda: there.readlink() != own, START_TIMEOUT_S, f"machine {self.name}")
            run_ip("link", "set", "lo", "up", enter=self.enter)
        except BaseException as error:
            self.stop()
            if isinstance(error, OSError):
                raise MachineError(f"a network namespace cannot be made here: {error}") from error
            raise
        self._thread = ThreadPoolExecutor(1, initializer=self._move_thread)
        return self

    def stop(self) -> None:
        """Remove the namespace, when nothing runs in it any more."""
        if self._thread is not None:
            self._thread.shutdown()
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()

    def call(self, function: Callable[..., T], *arguments: object, **options: object) -> T:
        """Call a function in a thread of this process that is on the machine.

        Connections that it makes are those of the machine, and stay so.
        """
        if self._thread is None:
            raise MachineError(f"the machine {self.name} has not been started")
        return self._thread.submit(function, *arguments, **options).result()

    def be_a_switch(self) -> None:
        """Give a started machine a bridge, with its own address, to which others connect."""
        run_ip("link", "add", _SWITCH, "type", "bridge", enter=self.enter)
        run_ip("address", "add", str(self.address), "dev", _SWITCH, enter=self.enter)
        run_ip("link", "set", _SWITCH, "up", enter=self.enter)

    def connect(self, other: Machine) -> None:
        """Connect a started machine to this switch."""
        end = f"to-{other.name}"[:15]
        peer = ("peer", "name", LINK, "netns", str(other.pid))
        run_ip("link", "add", end, "type", "veth", *peer, enter=self.enter)
        run_ip("link", "set", end, "master", _SWITCH, "up", enter=self.enter)
        run_ip("address", "add", str(other.address), "dev", LINK, enter=other.enter)
        run_ip("link", "set", LINK, "up", enter=other.enter)

    @property
    def pid(self) -> int:
        """The process that holds the namespace."""
        if self._holder is None:
            raise MachineError(f"the machine {self.name} has not been started")
        return self._holder.pid

    def _move_thread(self) -> None:
        # os.setns came with Python 3.12.
        with Path(f"/proc/{self.pid}/ns/net").open("rb") as namespace:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")


def start_machines(exits: ExitStack, network: str, *names: str) -> list[Machine]:
    """Start a hub and hosts in one network, `10.9.8.0/24`; the exit stack removes them.

    The first one is the hub and has the first address.
    Errors: MachineError.
    """
    net = ipaddress.IPv4Network(network)
    machines = [
        Machine(name, ipaddress.IPv4Interface(f"{net[number]}/{net.prefixlen}"))
        for number, name in enumerate(names, start=1)
    ]
    hub, *hosts = (exits.enter_context(one) for one in machines)
    hub.be_a_switch()
    for host in hosts:
        hub.connect(host)
    return [hub, *hosts]
