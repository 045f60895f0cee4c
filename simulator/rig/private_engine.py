"""A private dockerd for one run.

It has its own folder, sockets, bridge, addresses, control group and containerd namespace, and makes
no firewall rules (Docker's userland proxy publishes ports). So several runs can run in parallel.
"""

from __future__ import annotations

import contextlib
import ipaddress
import random
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self, TextIO

import psutil

from simulator.rig.docker_engine import DockerEngine, engine_answers
from simulator.rig.engine_leftovers import EngineTraces, remove_traces, run_ip, taken_networks
from simulator.rig.errors import RigError
from simulator.rig.packages import find_program
from simulator.rig.processes import dies_with_parent

FOLDER_PREFIX = "cowpoke-engine-"
START_TIMEOUT_S = 60
KILL_TIMEOUT_S = 10


class EngineStartError(RigError):
    """A private dockerd was started and did not answer."""


class PrivateEngine(DockerEngine):
    """A private dockerd; needs root.

    `options` are extra arguments of dockerd. `enter` is a command that runs it and its network
    somewhere else, see `simulator.rig.machine`.
    """

    def __init__(self, *options: str, enter: Sequence[str] = ()) -> None:
        root = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
        super().__init__({"DOCKER_HOST": f"unix://{root}/docker.sock"}, private=True)
        self.root = root
        self._options = options
        self._enter = tuple(enter)
        # Letters and digits only, as containerd's namespaces want; a link's name has 15 of them.
        name = f"cp{root.name.removeprefix(FOLDER_PREFIX).replace('_', '0')}"[:15]
        self.subnet = _free_subnet()
        self._traces = EngineTraces(
            root=str(root),
            name=name,
            subnet=str(self.subnet),
        )
        self._record: TextIO | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of dockerd."""
        if self._process is None:
            raise EngineStartError("the private dockerd has not been started")
        return self._process.pid

    def start(self) -> Self:
        """Make the bridge, start dockerd, and wait until it answers."""
        try:
            self._record = self._traces.write()
            (self.root / "daemon.json").write_text("{}", encoding="ascii")
            self._make_bridge()
            self._launch()
        except BaseException:
            self.stop()
            raise
        return self

    def kill(self) -> None:
        """Kill dockerd (SIGKILL); its containers keep running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(KILL_TIMEOUT_S)

    def restart(self) -> None:
        """Stop dockerd if it runs, and start it with the same socket and data."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(START_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self._end_containerd()
        self._launch()

    def stop(self) -> None:
        """Stop dockerd and remove everything it created, including its data."""
        self.kill()
        remove_traces(self._traces)
        if self._record is not None:
            self._record.close()
            self._record = None

    def _end_containerd(self) -> None:
        """Stop containerd of a killed dockerd and remove its pid file.

        Otherwise a new dockerd takes an unreaped containerd for a live one and waits for it.
        """
        (self.root / "docker.pid").unlink(missing_ok=True)
        pid_file = self.root / "exec/containerd/containerd.pid"
        if pid_file.exists():
            with contextlib.suppress(psutil.NoSuchProcess, ValueError):
                containerd = psutil.Process(int(pid_file.read_text(encoding="ascii")))
                if "containerd" in containerd.name():
                    containerd.kill()
            pid_file.unlink()

    def _make_bridge(self) -> None:
        name = self._traces.name
        enter = self._enter
        run_ip("link", "add", name, "type", "bridge", enter=enter)
        first = ipaddress.IPv4Network(f"{self.subnet.network_address}/24")
        run_ip("address", "add", f"{first.network_address + 1}/24", "dev", name, enter=enter)
        run_ip("link", "set", name, "up", enter=enter)

    def _launch(self) -> None:
        with (self.root / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(
                dies_with_parent(self._command()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not engine_answers(self.environment):
            if self._process.poll() is not None or time.monotonic() >= deadline:
                log_text = (self.root / "dockerd.log").read_text(encoding="utf-8", errors="replace")
                last_lines = "\n".join(log_text.splitlines()[-15:])
                raise EngineStartError(f"a private dockerd did not come up:\n{last_lines}")
            time.sleep(0.05)

    def _command(self) -> list[str]:
        name = self._traces.name
        return [
            *self._enter,
            find_program("dockerd") or "dockerd",
            f"--host={self.host}",
            f"--config-file={self.root}/daemon.json",  # never the machine's own
            f"--data-root={self.root}/data",
            f"--exec-root={self.root}/exec",
            f"--pidfile={self.root}/docker.pid",
            f"--bridge={name}",
            f"--default-address-pool=base={self.subnet},size=24",
            "--iptables=false",
            "--ip-masq=false",
            "--ip-forward=false",
            f"--containerd-namespace={name}",
            f"--containerd-plugins-namespace={name}-plugins",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            f"--cgroup-parent=/{name}",
            *self._options,
        ]


def _free_subnet() -> ipaddress.IPv4Network:
    """Pick a /20 of 10.64.0.0/10 at random that this machine has no route in."""
    taken = taken_networks()
    candidates = list(ipaddress.IPv4Network("10.64.0.0/10").subnets(new_prefix=20))
    random.shuffle(candidates)
    return next(net for net in candidates if not any(net.overlaps(other) for other in taken))
