"""What `cowpoke status`, the page, health and metrics tell of a system, side by side."""

import html
import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from simulator.rig.processes import Program, WaitTimeoutError, wait_until

#: How long a bridge may take to answer; a health check waits no longer.
ANSWERS_WITHIN_S = 10.0
_TAG = re.compile(r"<[^>]*>")
_PROBLEM = re.compile(
    r'<li class="(?P<kind>urgent|note)" id="problem-(?P<code>[\w-]+)">'
    r"(?P<body>.*?)</code></p></li>",
    re.DOTALL,
)
_SAMPLE = re.compile(r"^(?P<name>\w+(?:\{.*\})?) (?P<value>\S+)$", re.MULTILINE)
_COUNTED = re.compile(r'cowpoke_problems\{code="([\w-]+)",needs_person="(\w+)"\}')


def free_port() -> int:
    """A port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What all views are to tell."""

    #: Problems that need a person, each with a part of its sentence.
    urgent: dict[str, str] = field(default_factory=dict)
    #: Problems that need nobody.
    known: dict[str, str] = field(default_factory=dict)
    #: What `/readyz` gives as reasons, and as notes.
    unready: set[str] = field(default_factory=set)
    notes: set[str] = field(default_factory=set)
    #: Samples of `/metrics`.
    samples: dict[str, float] = field(default_factory=dict)

    def __or__(self, other: "Expected") -> "Expected":
        """What is to be told when both are true."""
        return Expected(
            urgent=self.urgent | other.urgent,
            known=self.known | other.known,
            unready=self.unready | other.unready,
            notes=self.notes | other.notes,
            samples=self.samples | other.samples,
        )

    def missed_by_page(self, told: "Told") -> list[str]:
        """What the bridge tells differently; empty when it tells all of it."""
        wanted = {(code, True) for code in self.urgent} | {(code, False) for code in self.known}
        ready = not self.unready
        compared: dict[str, tuple[object, object]] = {
            "page": (wanted, told.on_page),
            # Several parts may have one problem.
            "page, summary": (
                len(self.urgent) or told.counted_on_page > 0,
                min(len(self.urgent), told.counted_on_page),
            ),
            "page, ready": (ready, "This bridge is ready" in told.text),
            "status.json": (wanted, told.in_json),
            "status.json, ready": (ready, told.json["this_bridge"]["ready"]),
            "metrics": (wanted, told.in_metrics),
            "metrics, ready": (float(ready), told.samples.get("cowpoke_ready")),
            "metrics, reasons": (self.unready, told.unready_in_metrics),
            "readyz": (200 if ready else 503, told.readyz_status),
            "readyz, reasons": (self.unready, _codes(told.readyz["reasons"])),
            "readyz, notes": (self.notes, _codes(told.readyz["notes"])),
            **{name: (value, told.samples.get(name)) for name, value in self.samples.items()},
        }
        missed = [
            f"{name}: wanted {wanted!r}, found {found!r}"
            for name, (wanted, found) in compared.items()
            if wanted != found
        ]
        sentences = {**self.urgent, **self.known}
        return missed + [
            f"page: {sentence!r} is not in what it says about {code}: {told.about.get(code)!r}"
            for code, sentence in sentences.items()
            if code in told.about and not re.search(sentence, told.about[code])
        ]

    def missed_by_command(self, exit_code: int, said: dict[str, Any]) -> list[str]:
        """What `cowpoke status` tells differently."""
        wanted = {(code, True) for code in self.urgent} | {(code, False) for code in self.known}
        found = {(one["code"], one["needs_person"]) for one in said["problems"]}
        urgent = bool(self.urgent)
        missed = []
        if (found, exit_code, said["needs_person"]) != (wanted, int(urgent), urgent):
            missed = [f"status: wanted {wanted}, found {found} with exit code {exit_code}"]
        return missed + [
            f"status: {sentence!r} is not in {one['message']!r}"
            for one in said["problems"]
            for sentence in [{**self.urgent, **self.known}.get(one["code"], "")]
            if not any(
                re.search(sentence, other["message"])
                for other in said["problems"]
                if other["code"] == one["code"]
            )
        ]


@dataclass(frozen=True)
class Told:
    """What a bridge told at about one moment."""

    page: str
    json: dict[str, Any]
    readyz_status: int
    readyz: dict[str, Any]
    samples: dict[str, float]

    @property
    def text(self) -> str:
        """The text of the page."""
        return html.unescape(" ".join(_TAG.sub("", self.page).split()))

    @property
    def on_page(self) -> set[tuple[str, bool]]:
        """The problems on the page, and whether they need a person."""
        return {(one["code"], one["kind"] == "urgent") for one in _PROBLEM.finditer(self.page)}

    @property
    def about(self) -> dict[str, str]:
        """What the page says about each problem."""
        return {
            one["code"]: html.unescape(_TAG.sub(" ", one["body"]))
            for one in _PROBLEM.finditer(self.page)
        }

    @property
    def counted_on_page(self) -> int:
        """How many problems need a person, as the first line says."""
        found = re.search(r"(\d+) problems? needs? a person", self.text)
        return int(found[1]) if found else 0

    @property
    def in_json(self) -> set[tuple[str, bool]]:
        """The problems in `/status.json`."""
        return {(one["code"], one["needs_person"]) for one in self.json.get("problems", ())}

    @property
    def in_metrics(self) -> set[tuple[str, bool]]:
        """The problems that are counted."""
        return {
            (found[1], found[2] == "true")
            for name, value in self.samples.items()
            if value and (found := _COUNTED.fullmatch(name))
        }

    @property
    def unready_in_metrics(self) -> set[str]:
        """The reasons why the bridge is not ready."""
        start = 'cowpoke_unready_reason{reason="'
        return {one[len(start) : -2] for one in self.samples if one.startswith(start)}


def _codes(reasons: list[dict[str, Any]]) -> set[str]:
    return {one["code"] for one in reasons}


class Views:
    """All that tells of one system: the command, and the bridge at a port."""

    def __init__(self, port: int, environment: dict[str, str]) -> None:
        self.port = port
        self.environment = environment

    def told(self) -> Told:
        """Ask the bridge; OSError when it does not answer."""
        with ThreadPoolExecutor(4) as pool:
            page, told, readyz, metrics = pool.map(
                self._get, ("/", "/status.json", "/readyz", "/metrics")
            )
        samples = {one["name"]: float(one["value"]) for one in _SAMPLE.finditer(metrics[1])}
        return Told(page[1], json.loads(told[1]), readyz[0], json.loads(readyz[1]), samples)

    def status(self) -> tuple[int, dict[str, Any]]:
        """Run the command; its exit code and what it says as JSON."""
        with Program("cowpoke", "status", "--json", environment=self.environment) as command:
            code = command.wait(60)
            text = command.output()
        # A sentence on standard error may follow.
        return code, json.JSONDecoder().raw_decode(text[text.index("{") :])[0]

    def wait(self, expected: Expected, within_s: float, *, bridge: bool = True) -> Told | None:
        """Wait until all views tell the same, as expected; without `bridge` it does not answer."""
        missed: list[str] = []
        last: list[Told] = []

        def is_told() -> bool:
            last.clear()
            if bridge:
                try:
                    last.append(self.told())
                except OSError as error:
                    missed[:] = [f"the bridge does not answer: {error}"]
                    return False
                missed[:] = expected.missed_by_page(last[0])
            else:
                missed[:] = ["the bridge answers"] if self.answers() else []
            if not missed:
                missed.extend(expected.missed_by_command(*self.status()))
            return not missed

        try:
            wait_until(is_told, within_s, "what all views tell", interval_s=0.3)
        except WaitTimeoutError:
            text = "\n  ".join(missed)
            said = last[0].about if last else {}
            raise AssertionError(
                f"not told within {within_s:g} s:\n  {text}\nthe page says: {said}"
            ) from None
        return last[0] if last else None

    def answers(self) -> bool:
        """Whether the bridge answers at all."""
        try:
            self._get("/livez", within_s=2.0)
        except OSError:
            return False
        return True

    def _get(self, path: str, within_s: float = ANSWERS_WITHIN_S) -> tuple[int, str]:
        request = Request(f"http://127.0.0.1:{self.port}{path}")
        try:
            with urlopen(request, timeout=within_s) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except URLError as error:
            raise OSError(str(error.reason)) from error
