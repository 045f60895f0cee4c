"""Writes docs/reference/settings.md from the settings classes: `python -m tests.readme_table`.

Also `cowpoke/variables.txt`, with which programs find misspelt variables.
"""

import argparse
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bridge.settings import BridgeSettings
from cowpoke.broker import BrokerSettings
from simulator.settings import SimulatorSettings
from worker.join.settings import JoinSettings
from worker.settings import WorkerSettings

PROJECT = Path(__file__).parents[1]
PAGE = PROJECT / "docs" / "reference" / "settings.md"
VARIABLES = PROJECT / "cowpoke" / "variables.txt"
_BEGIN = (
    "<!-- settings: written by `python -m tests.readme_table`, held against the code by a test -->"
)
_END = "<!-- /settings -->"


def table() -> str:
    """One row per variable: program, default, meaning."""
    shared = set(BrokerSettings.model_fields)
    rows = ["| variable | program | default | meaning |", "|---|---|---|---|"]
    rows += _rows(BrokerSettings, "both", set())
    rows += _rows(BridgeSettings, "bridge", shared)
    rows += _rows(WorkerSettings, "worker", shared)
    rows += _rows(JoinSettings, "join", set(WorkerSettings.model_fields))
    return "\n".join(rows)


def _rows(settings: Any, program: str, without: set[str]) -> list[str]:
    return [
        f"| {_names(field)} | {program} | {_default(field)} | {field.description} |"
        for name, field in settings.model_fields.items()
        if name not in without and field.validation_alias
    ]


def variables() -> str:
    """The names of all settings of all programs, one a line."""
    programs = (BrokerSettings, BridgeSettings, WorkerSettings, JoinSettings)
    names = {
        name
        for settings in programs
        for field in settings.model_fields.values()
        for name in _choices(field)
    }
    prefix = SimulatorSettings.model_config["env_prefix"]
    names |= {f"{prefix}{name}".upper() for name in SimulatorSettings.model_fields}
    return "".join(f"{name}\n" for name in sorted(names))


def _choices(field: Any) -> list[str]:
    alias = field.validation_alias
    return [str(one) for one in getattr(alias, "choices", [alias]) if one]


def _names(field: Any) -> str:
    return ", ".join(f"`{choice}`" for choice in _choices(field))


def _default(field: Any) -> str:
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value in ({}, ()):
        return ""
    if isinstance(value, bool):
        value = str(value).lower()
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def with_table(page: str) -> str:
    """The text of the page with the table as it should be."""
    head, _, rest = page.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    # Descriptions name pages from the project's folder; the page is two folders below it.
    linked = table().replace("](docs/", "](../")
    return f"{head}{_BEGIN}\n\n{linked}\n\n{_END}{tail}"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    VARIABLES.write_text(variables(), encoding="ascii")
