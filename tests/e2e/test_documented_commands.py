"""The commands of the documents that only look, or write files, are run as a reader types them.

`tests/documented_commands.py` says which ones, and which test does the others.
"""

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cowpoke import dead_letters, keys
from cowpoke.cli.main import main
from cowpoke.outcomes import error, success
from simulator.rig.processes import PROJECT_DIR, wait_until
from tests.bridges import ACTIVATE, AGENT, EVENT, HOST, BridgeRig
from tests.documented_commands import commands

LIMIT_S = 90
#: An answer that comes in an instant for a command that would go on for ever.
FOLLOWED_S = 5


def ending(event, _):
    """One event fails, another goes on."""
    if event.data.get("waits"):
        return None
    return error("engine-busy", "the Engine is busy") if event.data.get("fails") else success({})


class Shell:
    """A shell in a folder of its own, with the command `cowpoke` and the settings of a bridge."""

    def __init__(self, folder, rig, port, event_id):
        self._places = {
            "127.0.0.1:6379": "127.0.0.1:9",
            "127.0.0.1:9105": f"127.0.0.1:{port}",
            "BRIDGE_HTTP_PORT=9105": f"BRIDGE_HTTP_PORT={port}",
            "id -u redis": "id -u",
            "FOLDER": str(folder / "made"),
            "SHELL": "bash",
            "UUID": HOST,
            "HOST": HOST,
            "RESOURCE": EVENT["resource_id"],
            "NAME": "web-1",
            "0b9d7f9e": event_id[:8],
            "events show ID": f"events show {event_id}",
            "events retry ID": f"events retry {event_id}",
            "events drop ID": f"events drop {event_id}",
            **{place: f"{folder}{place}" for place in ("/etc/", "/usr/local/share/")},
        }
        for place in ("bin", "etc/bash_completion.d", "usr/local/share/zsh/site-functions"):
            (folder / place).mkdir(parents=True)
        (folder / ".config/fish/completions").mkdir(parents=True)
        for name in ("bridge", "host", "flower", "anna"):
            (folder / f"{name}.password").write_text(f"password of {name}\n")
        program = folder / "bin/cowpoke"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cowpoke "$@"\n')
        program.chmod(0o755)
        self._environment = {
            "PATH": ":".join([f"{folder}/bin", *os.get_exec_path()]),
            "PYTHONPATH": str(PROJECT_DIR),
            "HOME": str(folder),
            "REDIS_URL": rig.redis.url,
            "QUEUE_KEY": rig.key,
            "CATTLE_URL": rig.url,
            "CATTLE_HOME": str(folder / "home"),
            "BRIDGE_HTTP_PORT": str(port),
        }

    def run(self, text, letter_id):
        """Run a command; what is asked gets no answer."""
        places = {**self._places, "dead-letters show ID": f"dead-letters show {letter_id}"}
        for said, meant in places.items():
            text = text.replace(said, meant)
        if " follow" in text:
            text = f"timeout {FOLLOWED_S} {text}"
        elif not set(text) & set("><$|;&") and text.startswith("cowpoke "):
            # It needs no shell: without the start of a program it takes a tenth of the time.
            done = CliRunner().invoke(main, shlex.split(text)[1:], env=self._environment)
            crashed = done.exception and not isinstance(done.exception, SystemExit)
            complaint = f"{done.stderr}{'Traceback' if crashed else ''}"
            return subprocess.CompletedProcess(text, done.exit_code, done.stdout, complaint)
        return subprocess.run(
            ["bash", "-c", text],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )


@pytest.fixture
def shell(redis_server, tmp_path, monkeypatch, missing_part):
    """A shell beside a bridge, with a host that has events of all kinds, and a dead letter."""
    if shutil.which("curl") is None:
        missing_part("no curl on the PATH; install Debian's package curl")
    monkeypatch.chdir(tmp_path)
    redis_server.client().flushall()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with BridgeRig(redis_server) as rig:
        worker = rig.start_worker(script=ending)
        rig.start_bridge(BRIDGE_HTTP_PORT=str(port)).wait_for_line("http.ready", 20)
        rig.wait_subscribed()

        def send(number, **data):
            instance = {"name": "web-1", "id": 37, "uuid": "u", "image": {"name": "docker:nginx"}}
            return rig.cattle.send(
                ACTIVATE,
                {"instanceHostMap": {"instance": instance}, **data},
                **{**EVENT, "resource_id": f"1ihm{number}"},
                agent=AGENT["access_key"],
            )

        for number, data in enumerate(({}, {"fails": True})):
            rig.cattle.wait(send(number, **data), 30)
        event_id = send(7, waits=True)
        wait_until(lambda: len(worker.claimed) == 3, 20, "the third event at work")
        client = redis_server.client()
        dead_letters.add(
            client, keys.dead_letters(HOST), where=f"host.{HOST}", reason="no JSON", content=b"x"
        )
        yield Shell(tmp_path, rig, port, event_id)
        client.close()


@pytest.mark.timeout(300)
def test_the_commands_of_the_documents_work(shell):
    """Each ends with the code that its rule has, and without a traceback."""
    rules = {one.inside: one.rule for one in commands() if one.rule and one.rule.how == "run"}
    listed = shell.run("cowpoke dead-letters list --json", "")
    letter_id = json.loads(listed.stdout)[0]["id"]
    ended = {text: shell.run(text, letter_id) for text in rules}
    wrong = {
        text: (done.returncode, done.stdout[-800:], done.stderr[-800:])
        for text, done in ended.items()
        if done.returncode not in rules[text].codes or "Traceback" in done.stderr
    }
    assert wrong == {}
    # They found what is there, and took no silence for a yes.
    assert "engine-busy" in ended["cowpoke events list --outcome error"].stdout
    assert HOST in ended["cowpoke hosts list"].stdout
    assert "cowpoke_build_info" in ended["curl -s http://127.0.0.1:9105/metrics"].stdout
    assert letter_id in shell.run("cowpoke dead-letters list --json", "").stdout
