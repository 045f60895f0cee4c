"""Reports of the figures: tables for terminal and docs/performance.md, and JSON."""

from __future__ import annotations

from simulator.bench.report import table
from simulator.scale.figures import Figures

BEGIN = "<!-- scale: written by `python -m simulator.scale --write-docs` -->"
END = "<!-- end of scale -->"


def tables(figures: Figures) -> str:
    """Return all tables as Markdown that is readable on a terminal too."""
    machine = ", ".join(f"{name} {value}" for name, value in figures.machine.items())
    parts = [f"Made on: {machine}.", "### Targets at scale", _targets(figures)]
    parts += [f"### CPU at rest, {figures.hosts:,} hosts", _shares(figures)]
    parts += [f"### A sweep beside {figures.open_events:,} open events", _sweeps(figures)]
    parts += ["### Errors for the events of one queue", _failing(figures)]
    parts += [f"### Redis commands of a worker at rest, over {figures.rest_s:g} s"]
    parts += [_commands(figures)]
    if figures.lost_leases:
        lost = f"{figures.lost_leases} leases expired before they were renewed"
        parts += [f"The machine was too busy: {lost}. The figures are too high."]
    return "\n\n".join(parts) + "\n"


def _targets(figures: Figures) -> str:
    rows = [(wanted, found, "yes" if met else "**no**") for wanted, found, met in figures.targets()]
    return table(("wanted", "found", "met"), rows)


def _shares(figures: Figures) -> str:
    rows = [
        (one.situation, f"{one.bridge_percent:.2f} %", f"{one.redis_percent:.2f} %")
        for one in figures.shares
    ]
    return table(("situation", "bridge", "redis-server"), rows)


def _sweeps(figures: Figures) -> str:
    rows = [
        (
            f"{one.due:,}",
            "lost message, sent again" if one.lost else "nothing to do",
            f"{one.bridge_ms:.1f} ms",
            f"{one.redis_ms:.0f} ms",
        )
        for one in figures.sweeps
    ]
    return table(("events due", "found", "CPU of the bridge", "CPU of Redis"), rows)


def _failing(figures: Figures) -> str:
    rows = [
        (f"{one.events:,}", one.order, f"{one.bridge_ms:.0f} ms", f"{one.redis_ms:.0f} ms")
        for one in figures.failing
    ]
    return table(("events", "order", "CPU of the bridge", "CPU of Redis"), rows)


def _commands(figures: Figures) -> str:
    rows = [(name.upper(), f"{rate:.2f}") for name, rate in figures.commands.items()]
    rows.append(("all", f"{sum(figures.commands.values()):.2f}"))
    return table(("command", "calls a second"), rows)
