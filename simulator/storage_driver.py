"""`python -m simulator.storage_driver`: a stand-in for a storage driver of Rancher.

It does what the container of a driver does, see `storage_protocol`. Create and Mount may be
repeated. Mount makes a folder, which a container can use. Remove deletes only a volume that Rancher
is removing, see `removing`. Faults make actions go wrong.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from simulator.storage_protocol import (
    NOT_FOUND,
    Answer,
    DriverRequest,
    DriverServer,
    Fault,
    driver_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

NO_SUCH_VOLUME = "No such volume"
PLUGINS = Path("/run/docker/plugins")
_POLL_S = 0.02
_ANY = "*"


class StorageDriver:
    """A driver that listens at `<folder>/<name>.sock`; a context manager.

    Volumes are folders at `<volumes>/<driver>/<volume>`. Attributes may change while it runs.
    """

    def __init__(
        self, folder: Path, name: str = "rancher-nfs", *, volumes: Path, scope: str = "flex"
    ) -> None:
        self.name = name
        self.socket = folder / f"{name}.sock"
        self.scope = scope
        #: How late `SLOW` is, and the time between two bytes of `DRIP`.
        self.slow_s = 1.0
        #: What `FAIL` says.
        self.words = "the file server does not answer"
        #: All calls so far.
        self.calls: list[DriverRequest] = []
        #: Options of the volumes that exist, by their names.
        self.created: dict[str, dict[str, Any]] = {}
        #: Volumes that Rancher is removing; Remove does nothing for others.
        self.removing: set[str] = set()
        #: The most calls that ran at once, by action and volume.
        self.most_at_once: dict[tuple[str, str], int] = defaultdict(int)
        #: Called with each request; the program prints it.
        self.on_call: Callable[[DriverRequest], None] = lambda _request: None
        self._volumes = volumes / name
        self._faults: dict[str, Fault] = {}
        self._running: dict[tuple[str, str], int] = defaultdict(int)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server: DriverServer | None = None
        self._actions: dict[str, Callable[[DriverRequest], Answer]] = {
            "Capabilities": self._capabilities,
            "Create": self._create,
            "Attach": self._nothing,
            "Mount": self._mount,
            "Unmount": self._nothing,
            "Remove": self._remove,
            "Get": self._get,
            "Path": self._path,
            "List": self._list,
        }

    def start(self) -> Self:
        """Listen."""
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        self._closing.clear()
        self._server = DriverServer(self.socket, self)
        threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name=self.name, daemon=True
        ).start()
        return self

    def stop(self, *, leave_socket: bool = False) -> None:
        """Listen no more, as when the container ends; a killed one leaves its socket file."""
        self._closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        if not leave_socket:
            self.socket.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def fault(self, fault: Fault, *actions: str) -> None:
        """Let actions go wrong from now on; all of them when none is named."""
        self._faults.update(dict.fromkeys(actions or (_ANY,), fault))

    def heal(self) -> None:
        """End all faults; calls that hang are answered."""
        self._faults.clear()

    def fault_of(self, action: str) -> Fault | None:
        """Return what goes wrong with an action now."""
        return self._faults.get(action, self._faults.get(_ANY))

    def actions(self, name: str | None = None) -> list[str]:
        """Return the actions so far, in order, of one volume or of all."""
        return [one.action for one in tuple(self.calls) if name in {None, one.name}]

    def folder_of(self, name: str) -> Path:
        """Return the folder of a volume."""
        return self._volumes / name

    def link_plugin(self, folder: Path = PLUGINS) -> Path:
        """Let the Engine of this machine use the driver, too; return the link to remove later.

        Errors: FileExistsError when a driver of that name is there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        link = folder / self.socket.name
        link.symlink_to(self.socket)
        return link

    def answer(self, request: DriverRequest) -> Answer:
        """Do what a request asks for, as far as no fault keeps the driver from it."""
        key = request.action, request.name
        with self._lock:
            self.calls.append(request)
            self._running[key] += 1
            self.most_at_once[key] = max(self.most_at_once[key], self._running[key])
        self.on_call(request)
        try:
            faulty = self._faulty(request.action)
            with self._lock:
                return faulty or self._actions.get(request.action, _unknown)(request)
        finally:
            with self._lock:
                self._running[key] -= 1

    def pieces(self, body: bytes, action: str) -> Iterator[bytes]:
        """Yield a body in the pieces in which it is sent."""
        if self.fault_of(action) is not Fault.DRIP:
            yield body
            return
        for number in range(len(body)):
            if self._closing.wait(self.slow_s):
                return
            yield body[number : number + 1]

    def _faulty(self, action: str) -> Answer | None:
        """Return the answer of a fault, after its delay; None for the right answer."""
        fault = self.fault_of(action)
        if fault is Fault.SLOW:
            self._closing.wait(self.slow_s)
        while self.fault_of(action) is Fault.HANG and not self._closing.wait(_POLL_S):
            pass
        if fault is Fault.DROP or self._closing.is_set():
            raise ConnectionAbortedError
        fixed: dict[Fault | None, Answer] = {
            Fault.UNSUPPORTED: (404, driver_json()),
            Fault.TEXT: NOT_FOUND,
            Fault.FAIL: (500, driver_json(Err=self.words)),
            Fault.FAIL_200: (200, driver_json(Err=self.words)),
            Fault.SILENT_500: (500, driver_json()),
            Fault.EMPTY: (200, driver_json()),
            Fault.NOISE: (200, b"<html>"),
        }
        return fixed.get(fault)

    def _nothing(self, _: DriverRequest) -> Answer:
        # A driver without devices says inside that it does not support them.
        return 200, driver_json()

    def _capabilities(self, _: DriverRequest) -> Answer:
        return 200, driver_json(Capabilities={"Scope": self.scope})

    def _create(self, request: DriverRequest) -> Answer:
        self.created.setdefault(request.name, request.body.get("Opts") or {})
        return 200, driver_json()

    def _mount(self, request: DriverRequest) -> Answer:
        if request.name in self.created:
            self.folder_of(request.name).mkdir(parents=True, exist_ok=True)
        return self._path(request)

    def _path(self, request: DriverRequest) -> Answer:
        if request.name not in self.created:
            return 500, driver_json(Err=NO_SUCH_VOLUME)
        return 200, driver_json(Mountpoint=str(self.folder_of(request.name)))

    def _get(self, request: DriverRequest) -> Answer:
        if request.name not in self.created:
            return 500, driver_json(Err=NO_SUCH_VOLUME)
        return 200, driver_json(Volume=self._listed(request.name))

    def _list(self, _: DriverRequest) -> Answer:
        return 200, driver_json(Volumes=[self._listed(name) for name in self.created])

    def _listed(self, name: str) -> dict[str, str]:
        return {"Name": name, "Mountpoint": str(self.folder_of(name))}

    def _remove(self, request: DriverRequest) -> Answer:
        if request.name in self.removing:
            self.created.pop(request.name, None)
            shutil.rmtree(self.folder_of(request.name), ignore_errors=True)
        return 200, driver_json()


def _unknown(_: DriverRequest) -> Answer:
    return NOT_FOUND


@click.command()
@click.option("--folder", type=Path, required=True, help="Folder of the socket.")
@click.option("--volumes", type=Path, required=True, help="Folder of the volumes.")
@click.option("--name", default="rancher-nfs", help="Name of the driver.")
@click.option("--scope", default="flex", help="What Capabilities answers: flex, local, global.")
@click.option("--fault", "faults", multiple=True, help="ACTION=FAULT, such as Create=hang.")
def main(folder: Path, volumes: Path, name: str, scope: str, faults: tuple[str, ...]) -> None:
    """Run a storage driver until SIGTERM or SIGINT; print each call, without its options."""
    driver = StorageDriver(folder, name, volumes=volumes, scope=scope)
    for text in faults:
        action, _, fault = text.partition("=")
        driver.fault(Fault(fault), action)
    driver.on_call = lambda one: click.echo(f"{one.action} {one.name}")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with driver:
        click.echo(f"storage driver {os.getpid()}: {driver.socket}")
        ended.wait()


if __name__ == "__main__":
    main()
