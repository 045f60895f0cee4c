"""The machine is prepared where its Engine runs: kernel modules, shared folders, its full name.

The Engine is a process in mount and UTS namespaces of its own: what changes is gone with it. Row
numbers (B) refer to docs/parity.md.
"""

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path, PurePosixPath

import pytest

from simulator.rig.processes import PROJECT_DIR, clean_environment, dies_with_parent
from tests.faults.faulty_system import facts, wait_fact, wait_lane
from worker.host import preparation
from worker.host.engine_process import (
    EngineAwayError,
    NotEnteredError,
    engine_pid,
    run_beside_engine,
)
from worker.host.identity import kept_hostname
from worker.host.mounts import covering
from worker.process import hostname
from worker.settings import WorkerSettings

FOLDERS = [str(folder) for folder in preparation.SHARED_FOLDERS]
#: Runs in the namespaces before the Engine: /var/lib is its own, and programs are the test's.
PREPARE = """\
set -e
hostname machine-7
mount -t tmpfs none /var/lib
mount --bind "$1/sbin" /usr/sbin
{more}
shift
exec "$@"
"""


class Machine:
    """An Engine's process in namespaces of its own, with a `modprobe` and a `hostname`."""

    def __init__(self, folder: Path, *, more: str = "") -> None:
        self.host = f"unix://{folder}/engine.sock"
        self.loaded = folder / "loaded"
        (folder / "sbin").mkdir(parents=True)
        self.program("modprobe", f'echo "$@" >>{self.loaded}', folder)
        inner = [sys.executable, "-m", "tests.faults.fake_dockerd", str(folder / "engine.sock")]
        script = PREPARE.format(more=more)
        entered = ["unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", script]
        self.process = subprocess.Popen(
            dies_with_parent([*entered, "sh", str(folder), *inner]),
            cwd=PROJECT_DIR,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        if self.process.stdout.readline() != "listening\n":
            self.close()
            pytest.skip("this machine lets nobody make mount namespaces")

    @staticmethod
    def program(name: str, script: str, folder: Path) -> None:
        """A program of the machine."""
        path = folder / "sbin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def is_shared(self, folder: str) -> bool:
        """Whether the Engine sees what is mounted below a folder elsewhere."""
        mounts = Path(f"/proc/{self.process.pid}/mountinfo").read_text()
        found = covering(mounts, PurePosixPath(folder))
        return found.is_shared and str(found.path) == folder

    def settings(self, folder: Path, **given: str) -> WorkerSettings:
        """A worker of this machine."""
        home = {"CATTLE_HOME": str(folder / "home"), "DOCKER_HOST": self.host}
        return WorkerSettings(**{**home, "WORKER_PREPARE_HOST": "true", **given})

    def close(self) -> None:
        """End the Engine, and its namespaces with it."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def make_machine(tmp_path):
    """Start a machine: `make_machine(more="mount ...")`."""
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("nsenter"):
        pytest.skip("needs root and the programs unshare and nsenter")
    started = []

    def make(name="machine", **options):
        started.append(Machine(tmp_path / name, **options))
        return started[-1]

    yield make
    for machine in started:
        machine.close()


@pytest.fixture
def no_modules(tmp_path, monkeypatch):
    """No kernel module is loaded."""
    monkeypatch.setattr(preparation, "_LOADED_MODULES", tmp_path / "none")


# -- modules and folders ---------------------------------------------------------------------------


def test_modules_are_loaded_and_folders_shared_where_the_engine_runs(
    make_machine, no_modules, tmp_path, logged
):
    """B.6: as `rancher/agent` does at each start; a second time changes nothing."""
    machine = make_machine()
    for _ in range(2):
        preparation.prepare_host(machine.settings(tmp_path))
        assert [machine.is_shared(folder) for folder in FOLDERS] == [True, True]
    assert machine.loaded.read_text().split("\n")[0].split() == ["-a", *preparation.MODULES]
    mounts = Path(f"/proc/{machine.process.pid}/mountinfo").read_text()
    assert [mounts.count(f" {folder} ") for folder in FOLDERS] == [1, 1]
    own = covering(Path("/proc/self/mountinfo").read_text(), PurePosixPath(FOLDERS[0]))
    assert str(own.path) != FOLDERS[0], "only the Engine's namespace changed"
    assert [line["folder"] for line in logged("host.folder_shared")] == FOLDERS
    assert logged("host.not_prepared") == []


@pytest.mark.parametrize(
    ("more", "own"),
    [
        ("mount --make-shared /var/lib", False),
        (f"mkdir -p {FOLDERS[0]}; mount -t tmpfs none {FOLDERS[0]}", True),
        (f"mkdir -p {FOLDERS[0]}; mount --bind {FOLDERS[0]} {FOLDERS[0]}", True),
    ],
)
def test_folders_that_are_shared_or_mounted_already(make_machine, tmp_path, more, own):
    """B.6: with a shared parent nothing is done, not even a folder made; a mount stays one."""
    machine = make_machine(more=more)
    preparation.share_folders(machine.process.pid)
    mounts = Path(f"/proc/{machine.process.pid}/mountinfo").read_text()
    assert mounts.count(f" {FOLDERS[0]} ") == int(own)
    assert covering(mounts, PurePosixPath(FOLDERS[0])).is_shared
    if not own:
        done = run_beside_engine(machine.process.pid, ("mount",), "ls", FOLDERS[0], timeout_s=30)
        assert done.returncode != 0


@pytest.mark.parametrize(
    ("script", "warned"),
    [
        ('echo "modprobe: FATAL: Module $2 not found" >&2; exit 1', False),
        ("echo 'modprobe: ERROR: could not insert veth: Operation not permitted' >&2", True),
        ("rm", True),
    ],
)
def test_a_kernel_without_a_module_is_no_problem_and_a_refusal_is(
    make_machine, no_modules, tmp_path, logged, script, warned
):
    """B.6: one warning with advice; the folders are shared all the same."""
    machine = make_machine()
    if script == "rm":
        (tmp_path / "machine" / "sbin" / "modprobe").unlink()
    else:
        machine.program("modprobe", script, tmp_path / "machine")
    preparation.prepare_host(machine.settings(tmp_path))
    assert len(logged("host.not_prepared")) == int(warned)
    assert machine.is_shared(FOLDERS[0])


def test_the_switch_turns_it_off(make_machine, no_modules, tmp_path):
    """B.6: for an operator who does it otherwise; also without Docker."""
    machine = make_machine()
    for given in ({"WORKER_PREPARE_HOST": "false"}, {"CATTLE_DOCKER_ENABLED": "false"}):
        preparation.prepare_host(machine.settings(tmp_path, **given))
    assert not machine.is_shared(FOLDERS[0])
    assert not machine.loaded.exists()


def test_a_worker_prepares_its_machine_once_the_engine_is_there(
    make_machine, make_program, redis_url, tmp_path
):
    """B.6: off the start path: its lanes are ready before."""
    environment = {
        "REDIS_URL": redis_url,
        "CATTLE_HOME": str(tmp_path / "home"),
        "DOCKER_HOST": f"unix://{tmp_path}/machine/engine.sock",
        "WORKER_PREPARE_HOST": "true",
    }
    worker = make_program("worker", environment=environment)
    for lane in ("compute", "control", "images"):
        wait_lane(worker, lane)
    machine = make_machine()
    wait_fact(worker, "host.folder_shared", 2, timeout_s=60)
    assert machine.is_shared(FOLDERS[0])
    assert facts(worker, "host.care_failed") == []
    assert (tmp_path / "home" / "etc" / "ssl" / "host.key").exists()


def test_a_worker_that_is_refused_says_so_once(make_program, make_machine, redis_url, tmp_path):
    """B.6: one line for all of it, with advice."""
    machine = make_machine()
    (tmp_path / "path").mkdir()
    # What the worker starts has no SYS_ADMIN.
    drop = "import ctypes; ctypes.CDLL(None).prctl(24, 21)"
    (tmp_path / "path" / "sitecustomize.py").write_text(drop)
    environment = {
        "REDIS_URL": redis_url,
        "CATTLE_HOME": str(tmp_path / "home"),
        "DOCKER_HOST": machine.host,
        "WORKER_PREPARE_HOST": "true",
        "PYTHONPATH": str(tmp_path / "path"),
    }
    worker = make_program("worker", environment=environment)
    wait_fact(worker, "host.not_prepared", timeout_s=60)
    (line,) = facts(worker, "host.not_prepared")
    assert "Operation not permitted" in line["reason"]
    assert "WORKER_PREPARE_HOST=false" in line["advice"]


@pytest.mark.parametrize("switch", ["true", "false"])
def test_the_health_check_has_a_note_without_the_right(make_machine, tmp_path, switch):
    """B.6: as in a container without SYS_ADMIN; it fails for other reasons only."""
    machine = make_machine()
    given = {
        "CATTLE_HOME": str(tmp_path / "home"),
        "DOCKER_HOST": machine.host,
        "WORKER_PREPARE_HOST": switch,
        "REDIS_URL": "redis://127.0.0.1:1",
    }
    without = ["setpriv", "--bounding-set", "-sys_admin", sys.executable, "-m", "worker"]
    done = subprocess.run(
        [*without, "health"],
        cwd=PROJECT_DIR,
        env=clean_environment(given),
        capture_output=True,
        text=True,
        check=False,
    )
    note = "note: this machine is not prepared for Rancher: the worker may not enter"
    assert done.stdout.count(note) == int(switch == "true")


# -- the Engine's process --------------------------------------------------------------------------


class listening:  # noqa: N801 -- used as a function
    """Listen at a socket in this process; a context manager."""

    def __init__(self, path: Path) -> None:
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(path))
        self._server.listen()
        self._server.settimeout(0.05)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._accept)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                self._server.accept()[0].close()
            except TimeoutError:
                continue

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        self._thread.join()
        self._server.close()


def fake_proc(folder: Path, processes: dict[int, tuple[str, str]]) -> Path:
    """A /proc of these processes: pid -> name and PID namespace."""
    for pid, (name, space) in processes.items():
        (folder / str(pid) / "ns").mkdir(parents=True)
        (folder / str(pid) / "comm").write_text(f"{name}\n")
        original = folder / space
        original.touch()
        os.link(original, folder / str(pid) / "ns" / "pid")
    return folder


@pytest.mark.parametrize(
    ("own", "others", "found"),
    [
        ("dockerd", {5: ("dockerd", "a")}, "own"),
        ("systemd", {5: ("dockerd", "a"), 3: ("sshd", "a")}, 5),
        ("systemd", {5: ("dockerd", "b"), 17: ("dockerd", "a"), 9: ("dockerd", "b")}, 17),
        ("systemd", {200: ("dockerd", "a"), 30: ("dockerd", "a")}, 30),
        ("systemd", {5: ("dockerd", "b")}, "own"),
        ("systemd", {}, "own"),
    ],
)
def test_the_engine_behind_a_socket_is_found(tmp_path, own, others, found):
    """B.6: systemd may listen for it, and containers may have Engines of their own."""
    pid = os.getpid()
    proc = fake_proc(tmp_path / "proc", {pid: (own, "a"), **others})
    with listening(tmp_path / "engine.sock"):
        told = engine_pid(f"unix://{tmp_path}/engine.sock", proc)
    assert told == (pid if found == "own" else found)


def test_an_engine_of_another_pid_namespace_is_not_seen(make_machine, tmp_path):
    """B.6: as in a container without `pid: host`."""
    machine = make_machine()
    script = (
        f"from worker.host.engine_process import engine_pid; print(engine_pid({machine.host!r}))"
    )
    isolated = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", script]
    done = subprocess.run(
        isolated,
        cwd=PROJECT_DIR,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "None\n"
    assert engine_pid(machine.host) == machine.process.pid


def test_an_engine_that_is_away_or_elsewhere(tmp_path):
    """B.6: the former is waited for."""
    with pytest.raises(EngineAwayError, match="No such file"):
        engine_pid(f"unix://{tmp_path}/none.sock")
    assert engine_pid("tcp://127.0.0.1:2375") is None


def test_what_cannot_be_run_beside_the_engine_says_why(make_machine):
    """B.6: a missing program, one that hangs, and one that fails, which is its own affair."""
    pid = make_machine().process.pid
    with pytest.raises(NotEnteredError, match="failed to execute nothing"):
        run_beside_engine(pid, ("mount",), "nothing", timeout_s=30)
    with pytest.raises(NotEnteredError, match="timed out"):
        run_beside_engine(pid, ("mount",), "sleep", "30", timeout_s=0.2)
    with pytest.raises(NotEnteredError, match="nsenter: "):
        run_beside_engine(2**22 - 1, ("mount",), "true", timeout_s=30)
    assert run_beside_engine(pid, ("mount",), "false", timeout_s=30).returncode == 1


def test_a_container_learns_the_full_name_of_its_machine(make_machine, tmp_path, monkeypatch):
    """B.6: by `hostname -f` there, as `rancher/agent` in the machine's network."""
    machine = make_machine()
    machine.program(
        "hostname", 'echo "$(cat /proc/sys/kernel/hostname).example.org"', tmp_path / "machine"
    )
    monkeypatch.setattr(hostname, "own_container_id", lambda: "f" * 64)
    monkeypatch.setattr(hostname, "_engines_name", lambda _: "machine-7")
    settings = machine.settings(tmp_path)
    hostname.learn_hostname(settings)
    assert kept_hostname(settings) == "machine-7.example.org"
