"""Makes the pictures of README and docs: `python -m tests.pictures [demo] [status-page]`.

demo.svg          the real output of `make demo` as a terminal shows it; needs a Docker Engine
status-page.png   the status page of a bridge, with made-up hosts; needs Chromium
"""

import asyncio
import os
import pty
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from bridge.inbound.standing import Standing
from bridge.web.live import StatusPage
from bridge.web.readiness import Readiness
from bridge.web.server import serving
from bridge.web.settings import HttpSettings
from bridge.web.watched import Watched
from cowpoke.figures import EngineState
from cowpoke.history import Ending, FinishedEvent
from cowpoke.overview.finding import find_problems
from cowpoke.overview.views import Overview
from cowpoke.routes import Lane
from tests.browser import Browser, find_chromium
from tests.page_views import bridge, finished, host, redis_view, websocket

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
_COLUMNS = 96
#: A font of this machine: a picture in a page may load nothing.
_REMOTE_FONTS = re.compile(r"(?s)@font-face \{.*?\}\s*")
#: Addresses of a private Engine say nothing.
_PRIVATE = (re.compile(r"unix:///\S+/docker\.sock"), "unix:///tmp/cowpoke-engine/docker.sock")
#: Down to the hosts.
_PAGE_SIZE = (1280, 1290)


def demo() -> Path:
    """Run the demo in a terminal, and draw what it printed."""
    shown = _in_terminal(sys.executable, "-m", "simulator.demo")
    if "demo passed" not in shown:
        raise click.ClickException(f"the demo failed:\n{shown}")
    console = Console(record=True, width=_COLUMNS, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 -- as long as the process
    console.print(Text.from_ansi("$ make demo\n" + _PRIVATE[0].sub(_PRIVATE[1], shown).rstrip()))
    drawn = console.export_svg(title="make demo", unique_id="demo")
    path = FOLDER / "demo.svg"
    path.write_text(_REMOTE_FONTS.sub("", drawn), encoding="utf-8")
    return path


def _in_terminal(*command: str) -> str:
    """Return what a command prints on a terminal, with its colors."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs) as ran:
        os.close(theirs)
        read = b""
        # A terminal whose last program ended answers with an error.
        with suppress(OSError):
            while chunk := os.read(ours, 65536):
                read += chunk
        ran.wait()
    os.close(ours)
    return read.decode().replace("\r\n", "\n")


def status_page() -> Path:
    """Serve the page of made-up hosts, and take its picture."""
    chromium = find_chromium()
    if chromium is None:
        raise click.ClickException("no Chromium on the PATH; install Debian's package chromium")
    with ExitStack() as stack:
        url = stack.enter_context(_Served())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        browser = stack.enter_context(Browser(chromium, folder))
        page = browser.open(url, size=_PAGE_SIZE)
        page.wait_for_text("web-2")
        page.wait_for_text("Live")
        taken = page.screenshot("status-page", full=False)
        path = FOLDER / "status-page.png"
        path.write_bytes(taken.read_bytes())
    return path


class _Served:
    """A bridge's HTTP server in a thread of its own; used as a context, which gives its url."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._ready, self._over = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()])
        self._url = ""

    async def _serve(self) -> None:
        readiness = Readiness(
            lambda: None, standing=Standing(()), hosts_known=lambda: True, is_stopping=lambda: False
        )
        found, recent = _overview(), _recent()
        page = StatusPage(Watched(lambda: (found, recent)), readiness, "4f1c2d90aa17")
        settings = HttpSettings.model_validate({"BRIDGE_HTTP_PORT": 0})
        async with serving(settings, page.routes()) as url:
            self._url = str(url)
            self._ready.set()
            await self._over.wait()

    def __enter__(self) -> str:
        self._thread.start()
        self._ready.wait(10)
        return self._url

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()


def _overview() -> Overview:
    names = ("web-1", "web-2", "db-1")
    hosts = tuple(_host(name, is_broken=name == "web-2") for name in names)
    bridges = tuple(
        bridge(
            bridge_id=identity,
            server="http://rancher.example.org:8080/v1",
            hostname="hub-1",
            errors=(),
            websockets=tuple(websocket(_uuid(name), bridge_id=identity) for name in names),
        )
        for identity in ("4f1c2d90aa17", "b7720e14c5d3")
    )
    server = redis_view(max_memory_bytes=1024**3)
    problems = tuple(find_problems(server, bridges, hosts))
    return Overview(redis=server, bridges=bridges, hosts=hosts, problems=problems)


def _host(name: str, *, is_broken: bool):
    """A host; the Engine of a broken one does not answer."""
    engine = EngineState(reachable=True, version="28.5.1", api_version="1.51")
    (one,) = host(_uuid(name)).workers
    one = replace(one, lease=replace(one.lease, version=bridge().version, hostname=name))
    made = host(_uuid(name), hostname=name, engine=engine, workers=(one,))
    if is_broken:
        reason = "cannot connect to unix:///var/run/docker.sock"
        return replace(made, engine=EngineState(reachable=False, reason=reason))
    queues = dict.fromkeys(made.queues, made.queues[Lane.CONTROL])
    return replace(made, queues=queues, open_events=0, open_states={}, oldest_event=None)


def _uuid(name: str) -> str:
    return f"{sum(map(ord, name)):08x}-61c2-4c14-9a55-0e6f3f2a8d10"


def _recent() -> list[FinishedEvent]:
    return [
        finished(
            "0b9d7f9e-1",
            host_uuid=_uuid("web-2"),
            summary="web-2 (1i38) nginx:1.25",
            outcome=Ending.ERROR,
            code="engine-unavailable",
            message="cannot create the container: the Engine does not answer",
            result="",
        ),
        finished("0b9d7f9e-2", host_uuid=_uuid("web-1")),
    ]


_PICTURES: dict[str, Callable[[], Path]] = {"demo": demo, "status-page": status_page}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(_PICTURES)))
def main(names: tuple[str, ...]) -> None:
    """Make the pictures of README and docs anew; all without NAMES."""
    FOLDER.mkdir(exist_ok=True)
    for name in names or _PICTURES:
        path = _PICTURES[name]()
        click.echo(f"{path.relative_to(FOLDER.parents[1])}: {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
