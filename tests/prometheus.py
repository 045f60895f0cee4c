"""A real Prometheus with the alert rules, and the rules as a test reads them."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from simulator.rig.errors import RigError
from simulator.rig.loopback_server import LoopbackServer

_DEPLOY = Path(__file__).parents[1] / "deploy"
RULES = _DEPLOY / "prometheus" / "cowpoke.rules.yml"
DASHBOARD = _DEPLOY / "grafana" / "cowpoke.json"
_ALERT = re.compile(
    r"- alert: (?P<name>\w+)\n"
    r"(?P<body>.*?)"
    r"summary: (?P<summary>[^\n]+)\n"
    r" +runbook: docs/runbook\.md#(?P<runbook>[\w-]+)\n",
    re.DOTALL,
)


@dataclass(frozen=True)
class Alert:
    """One rule."""

    name: str
    severity: str
    #: The condition, from its labels, or from what it looks for.
    code: str
    summary: str
    #: Its section.
    runbook: str


def alerts() -> list[Alert]:
    """Return the rules; each has all parts, in one order."""
    text = RULES.read_text(encoding="utf-8")
    found = [
        Alert(
            name=one["name"],
            severity=re.search(r"severity: (\w+)", one["body"])[1],
            code=re.search(r'code(?:: |=")([\w-]+)', one["body"])[1],
            summary=one["summary"].strip("'"),
            runbook=one["runbook"],
        )
        for one in _ALERT.finditer(text)
    ]
    assert len(found) == text.count("- alert:")
    return found


def hurried(rules: str) -> str:
    """Return the rules with other times: an alert fires after a second, a rate is one of 20 s."""
    rules = re.sub(r"(?m)^( +for): \w+$", r"\1: 1s", rules)
    return re.sub(r"\[\d+m\]", "[20s]", rules)


class PrometheusError(RigError):
    """Raised when Prometheus does not start."""


class Prometheus(LoopbackServer):
    """A Prometheus that scrapes a bridge every second, by the rules in a hurry."""

    name = "prometheus"
    start_error = PrometheusError

    def __init__(self, program: str, target: str) -> None:
        super().__init__()
        self._program = program
        self._target = target

    def command(self) -> list[str]:
        """Write the configuration and return the command line."""
        rules = self.directory / "rules.yml"
        rules.write_text(hurried(RULES.read_text(encoding="utf-8")), encoding="utf-8")
        # JSON is YAML.
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [
                {"job_name": "cowpoke", "static_configs": [{"targets": [self._target]}]}
            ],
        }
        file = self.directory / "prometheus.yml"
        file.write_text(json.dumps(configuration), encoding="utf-8")
        return [
            self._program,
            f"--config.file={file}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def answers(self) -> bool:
        """Return whether it is ready."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5):
                return True
        except (URLError, OSError):
            return False

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire now."""
        with urlopen(f"http://127.0.0.1:{self.port}/api/v1/alerts", timeout=10) as answer:
            found = json.load(answer)["data"]["alerts"]
        return {one["labels"]["alertname"] for one in found if one["state"] == "firing"}

    def query(self, text: str) -> list[object] | None:
        """Return what a query finds now; None for one that Prometheus does not understand."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urlencode({'query': text})}"
        try:
            with urlopen(url, timeout=10) as answer:
                return list(json.load(answer)["data"]["result"])
        except HTTPError:
            return None
