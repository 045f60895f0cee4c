"""`make dev` takes over a change of the sources within seconds, and loses no event."""

import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from simulator.client import Cattle
from simulator.rig.processes import PROJECT_DIR, wait_until

SOURCES = ("bridge", "cowpoke", "simulator", "worker", "celeryconfig.py", "pyproject.toml")
SENDERS = 6
WITHIN_S = 90


@pytest.fixture
def checkout(tmp_path):
    """A copy of the sources, which a test may change."""
    for name in SOURCES:
        source = PROJECT_DIR / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(source, tmp_path / name)
    return tmp_path


class Load:
    """Events from several threads, each sent by cattle once, until the block ends."""

    def __init__(self, url: str) -> None:
        self._cattle = Cattle(url)
        self._over = threading.Event()
        self.states: list[str] = []

    def __enter__(self):
        self._threads = ThreadPoolExecutor(SENDERS)
        self._running = [self._threads.submit(self._send, n) for n in range(SENDERS)]
        return self

    def __exit__(self, *_):
        self._over.set()
        for one in self._running:
            one.result()
        self._threads.shutdown()

    def _send(self, number: int) -> None:
        # A lane that answers pings, and one whose events wait for each other by resource.
        asked = {"resource_type": "agent", "resource_id": f"1a{number}"}
        name = "ping" if number % 2 else "config.update"
        while not self._over.is_set():
            call = self._cattle.call(name, {"items": []}, timeout_ms=40_000, **asked)
            self.states.append(call.state)
        self._cattle.close()


def _wait_for(dev, pattern, after_chars):
    return dev.wait_for_line(pattern, WITHIN_S, after_chars=after_chars)


def test_a_change_is_taken_over_under_load_without_a_lost_event(make_program, checkout):
    """Of a file that both programs read; a mistake in the sources stops nothing."""
    dev = make_program("simulator.dev", "--without-engine", directory=checkout)
    dev.wait_for_line(r"ready: change a source", WITHIN_S)
    found = re.search(r"cattle  (http\S+)", dev.output())
    assert found, dev.output()
    with Load(found[1]) as load:
        wait_until(lambda: len(load.states) > SENDERS, 60, "the first answers")
        said = len(dev.output())
        shared = checkout / "cowpoke" / "routes.py"
        shared.write_text(shared.read_text("utf-8") + "\n# changed\n", encoding="utf-8")
        for program in ("worker", "bridge"):
            _wait_for(dev, rf"{program}: reloaded in ", said)
        _wait_for(dev, r"bridge\.stopped", said)
        _wait_for(dev, r"worker\.stopped", said)

        said, answered = len(dev.output()), len(load.states)
        errors = checkout / "bridge" / "errors.py"
        good = errors.read_text(encoding="utf-8")
        errors.write_text("this is no Python\n", encoding="utf-8")
        _wait_for(dev, r"bridge: the new one did not start; the old one goes on", said)
        wait_until(lambda: len(load.states) > answered + SENDERS, 60, "more answers")

        said = len(dev.output())
        errors.write_text(good, encoding="utf-8")
        _wait_for(dev, r"bridge: reloaded in ", said)
        assert "worker: reloaded" not in dev.output()[said:]
    assert len(load.states) > 4 * SENDERS
    assert set(load.states) == {"success"}
    dev.terminate(60)
