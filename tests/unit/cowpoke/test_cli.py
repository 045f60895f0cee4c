"""The command `cowpoke`: what it lists, how quickly it starts, keys and ACL lines."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet

from cowpoke import distribution
from cowpoke.cli.main import main
from cowpoke.cli.shown import shown
from cowpoke.seal import ClusterKeyring, host_key

PROJECT_DIR = Path(__file__).parents[3]
PROJECT = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HEAVY = (
    "aiohttp",
    "celery",
    "cryptography",
    "docker",
    "kombu",
    "pydantic",
    "redis",
    "requests",
    "rich",
)


@pytest.fixture
def cowpoke():
    """Call the command: `cowpoke("key", env={...})`; the result has exit code and output."""

    def call(*arguments, **options):
        return CliRunner().invoke(main, arguments, prog_name="cowpoke", **options)

    return call


def test_a_checkout_has_the_commands_and_the_version_of_its_pyproject(cowpoke):
    """Nothing needs to be installed for them."""
    assert cowpoke("--version").output == f"cowpoke, version {PROJECT['version']}\n"
    assert set(distribution.commands()) == {
        *("agent", "bridge", "explain", "flower", "health", "host-uuid", "janitor", "join"),
        *("leave", "simulate", "worker"),
    }
    listed = cowpoke("--help").output
    # Only the entry of the image calls `agent`.
    for name in (
        *(set(distribution.commands()) - {"agent"}),
        "acl",
        "certificates",
        "completion",
        "credentials",
        "dead-letters",
        "doctor",
        "hosts",
        "key",
        "log-level",
        "status",
        "workers",
    ):
        assert f"\n  {name} " in listed


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["worker", "--help"], ["status", "--help"]]
)
def test_help_and_version_load_no_library(arguments):
    """Shell completion starts the command at every press of a key."""
    program = (
        "import sys\n"
        "from cowpoke.cli.main import main\n"
        f"main({arguments!r}, standalone_mode=False)\n"
        f"sys.exit(', '.join(set({HEAVY!r}) & set(sys.modules)) or 0)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("program", ["cowpoke", "bridge", "worker"])
def test_each_package_runs_as_a_module(program):
    """From a checkout without an installation."""
    ended = subprocess.run(
        [sys.executable, "-m", program, "--help"],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.startswith(f"Usage: python -m {program} [OPTIONS] ")


def test_every_entry_point_leads_to_a_command_of_its_name(cowpoke):
    """A renamed function would only show when somebody uses the command."""
    for name in distribution.commands():
        assert cowpoke(name, "--help").output.startswith(f"Usage: cowpoke {name} ")


def test_key_makes_a_key_and_derives_those_of_hosts(cowpoke):
    """One host key for each cluster key, so that both can be changed in rounds."""
    first, second = (cowpoke("key").output.strip() for _ in range(2))
    assert first != second
    Fernet(first)
    env = {"QUEUE_KEY": f"{first}, {second}"}
    derived = cowpoke("key", "host", "h-1", env=env).output.strip()
    assert derived == f"{host_key(first, 'h-1')},{host_key(second, 'h-1')}"


def test_fingerprints_are_those_that_programs_log(cowpoke):
    """People compare them by eye."""
    key = Fernet.generate_key().decode()
    keyring = ClusterKeyring(key)
    found = cowpoke("key", "fingerprints", "h-1", env={"QUEUE_KEY": key}).output
    bridge, host = keyring.fingerprints[0], keyring.host("h-1").fingerprints[0]
    assert found == f"bridge {bridge}\nhost h-1 {host}\n"
    assert key not in found
    as_json = cowpoke("key", "fingerprints", "h-1", "--json", env={"QUEUE_KEY": key}).output
    assert json.loads(as_json) == {"bridge": [bridge], "hosts": {"h-1": [host]}}


def test_a_key_command_says_what_it_lacks(cowpoke):
    """No traceback, and no value of a variable."""
    lacking = cowpoke("key", "host", "h-1")
    assert (lacking.exit_code, "QUEUE_KEY is not set" in lacking.output) == (1, True)
    bad = cowpoke("key", "fingerprints", env={"QUEUE_KEY": "hush-hush"})
    assert bad.exit_code == 1
    assert "QUEUE_KEY: " in bad.output
    assert "hush-hush" not in bad.output
    assert cowpoke("key", "host", "h*", env={"QUEUE_KEY": "x"}).exit_code == 2


@pytest.mark.parametrize("part", [("bridge",), ("host", "h-1"), ("flower",)])
def test_acl_prints_one_line_of_an_acl_file(cowpoke, part):
    """With a password only as its hash."""
    found = cowpoke("acl", *part, "--user", "me", "--password-file", "-", input="secret words\n")
    assert found.exit_code == 0
    assert found.output.startswith("user me #")
    assert found.output.count("\n") == 1
    assert "secret" not in found.output


@pytest.mark.parametrize(
    "arguments",
    [("host", "h*"), ("bridge", "--redis-version", "x"), ("bridge", "--redis-version", "6.2")],
)
def test_acl_refuses_what_redis_would_misread(cowpoke, arguments):
    """A pattern in a uuid would give away the keys of other hosts."""
    found = cowpoke("acl", *arguments)
    assert (found.exit_code, "Traceback" in found.output) == (2, False)


def test_text_of_unknown_origin_cannot_move_the_cursor():
    """A worker, or whoever has its Redis user, chooses names and versions."""
    assert shown("a\x1b[2J\nb\udcff") == "a\\x1b[2J\\nb\\udcff"
    assert len(shown("x" * 1000, 50)) == 50
