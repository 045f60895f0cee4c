"""The stand-in as a program of its own, for the demo and the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.rig.processes import Program

if TYPE_CHECKING:
    from pathlib import Path

START_TIMEOUT_S = 30


def plugin_manager(engine_host: str, state_dir: Path, *options: str) -> Program:
    """Return the stand-in, not started; its tries follow each other quickly."""
    arguments = ("--engine", engine_host, "--state-dir", str(state_dir))
    quick = ("--tries", "2", "--retry-s", "0.2")
    return Program("simulator.plugin_manager", *arguments, *quick, *options)


def start(program: Program) -> Program:
    """Start the stand-in, and wait until it follows the events."""
    seen = len(program.output())
    program.start()
    program.wait_for_line("^plugin-manager: ", START_TIMEOUT_S, after_chars=seen)
    return program
