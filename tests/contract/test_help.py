"""`--help` of everything only helps: without settings, without Redis, without an Engine."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cowpoke.cli.main import main

PROJECT = Path(__file__).parents[2]
FOLDERS = ("cowpoke", "bridge", "worker", "simulator", "tests")
SCRIPTS = sorted(path.name for path in (PROJECT / "scripts").iterdir())


def _modules() -> Iterator[str]:
    for folder in FOLDERS:
        for path in sorted((PROJECT / folder).rglob("*.py")):
            if re.search(r"(?m)^if __name__ == .__main__.:", path.read_text(encoding="utf-8")):
                parts = path.relative_to(PROJECT).with_suffix("").parts
                yield ".".join(parts).removesuffix(".__main__")


def _run(*command: str, cwd: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    """Run a command in an environment without settings."""
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/nonexistent"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _commands(found, (*path, name))


@pytest.mark.parametrize("module", [one for one in _modules() if one != "cowpoke"])
def test_help_of_a_module_only_helps(module):
    """Some of them start an Engine, or write into the checkout, without it."""
    ended = _run(sys.executable, "-m", module, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.lower().startswith("usage: ")


def test_help_of_every_subcommand_only_helps(monkeypatch):
    """Also where the settings are wrong."""
    monkeypatch.setenv("REDIS_URL", "no url")
    monkeypatch.setenv("QUEUE_KEY", "no key")
    runner = CliRunner()
    paths = list(_commands(main))
    assert len(paths) > 20
    for path in paths:
        ended = runner.invoke(main, [*path, "--help"], prog_name="cowpoke")
        usage = " ".join(("Usage: cowpoke", *path))
        assert (ended.exit_code, ended.output[: len(usage)]) == (0, usage)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_of_a_script_only_helps(script):
    """It is the comment at the top of the script."""
    ended = _run(str(PROJECT / "scripts" / script), "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.match(r"[A-Z]\w+s? .*\w", ended.stdout)


def test_make_alone_lists_every_target():
    """A target without a description would be found by nobody."""
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?m)^([a-z-]+):", makefile)) - {"ready"}
    alone, asked = _run("make"), _run("make", "help")
    assert (alone.returncode, alone.stdout) == (0, asked.stdout)
    assert set(re.findall(r"(?m)^  ([a-z-]+) +\S", alone.stdout)) == targets


@pytest.mark.parametrize("target", ["demo", "demo-host", "dev"])
def test_without_root_and_engine_make_says_so_before_it_installs_anything(target):
    """Setup takes a minute; a person does not wait for the bad news until then."""
    script = PROJECT / "scripts" / "need-engine"
    as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    if os.geteuid() != 0:
        as_nobody = ()
    more = ("--root",) if target == "demo-host" else ()
    ended = subprocess.run(
        [*as_nobody, "sh", "-s", "--", target, *more],
        input=script.read_text(encoding="utf-8").replace("/var/run/docker.sock", "/nonexistent"),
        env={"PATH": "/usr/bin:/bin"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"{target}: ")
    assert f"sudo make {target}" in ended.stderr
