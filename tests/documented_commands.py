"""The command lines of the documents, and how each of them is tested.

A line of a block of code is a command if the block begins with one; every command has a rule.
`run` commands are run by `tests/e2e/test_documented_commands.py`. The others name the test that
does the same, or say why no test does.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
DOCS = PROJECT / "docs"
PAGES = (*sorted(PROJECT.glob("*.md")), *sorted(DOCS.rglob("*.md")))
#: A prompt before a command.
_PROMPT = re.compile(r"^(?:\w+)?\$ ")
#: Variables for one command, and keywords of the shell, before its name.
_BEFORE = re.compile(r"^(?:(?:until|export) |[A-Z_]+=\S* )*")
#: How a command is called in a container, or from a virtual environment.
_INSIDE = re.compile(
    r"^(?:docker compose exec (?:--index 2 )?(?:bridge|bridge-2|worker) |/opt/cowpoke/bin/)"
    r"(?=cowpoke )"
)
_PROGRAMS = frozenset(
    [
        *("cat", "cowpoke", "cp", "curl", "docker", "echo", "export", "install", "make"),
        *("old=$(docker", "pip", "printf", "python3", "redis-cli", "rm", "ssh", "systemctl"),
        *("tar", "umask", "until"),
    ]
)


@dataclass(frozen=True)
class Rule:
    """What happens to commands that begin with a pattern."""

    pattern: str
    #: `run`, or the test that does it, or why there is none.
    how: str
    #: The exit codes of a run.
    codes: tuple[int, ...] = (0,)


#: Commands that need no argument, where a text names them.
_COMPLETE = frozenset(
    f"cowpoke {name}"
    for name in (
        *("status", "doctor", "workers", "key usage", "hosts list", "events list"),
        *("dead-letters list", "worker health", "bridge health", "leave"),
    )
)
_USERS_FILES = "no: it handles files of the user"
#: The first one that matches a command.
RULES = (
    Rule(r"REDIS_URL=\"rediss://operator", "tests/faults/test_redis_acl.py"),
    # Run, on a system with one host without an Engine.
    Rule(r"cowpoke (status|doctor)", "run", (0, 1)),
    Rule(r"cowpoke (hosts list|hosts show|workers|events list|events show)", "run"),
    # Nothing waits for a retry, and nobody says yes.
    Rule(r"cowpoke (events retry|events drop|dead-letters drop|hosts forget)", "run", (0, 1)),
    Rule(r"cowpoke events follow", "run", (124,)),
    Rule(r"cowpoke (dead-letters|key|acl|completion|host-uuid|certificates)", "run"),
    Rule(r"cowpoke (credentials|bridge health|--version|--help)", "run"),
    Rule(r"curl -s http://127\.0\.0\.1:9105", "run"),
    # Done by other tests. A signal would reach the programs of all tests that run.
    Rule(r"cowpoke log-level", "tests/faults/test_log_level.py"),
    Rule(r"cowpoke (worker health|health)", "tests/faults/test_redis_acl.py"),
    Rule(r"cowpoke janitor", "tests/docker/test_janitor_command.py"),
    Rule(r"cowpoke hosts (add|remove)", "tests/redis/test_hosts_command.py"),
    Rule(r"cowpoke join .*--take-over", "tests/e2e/test_take_over.py"),
    Rule(r"cowpoke (join|leave)", "tests/e2e/test_join.py"),
    Rule(r"cowpoke (bridge|worker)", "tests/e2e/test_main_job.py"),
    Rule(r"cowpoke flower", "tests/e2e/test_flower.py"),
    Rule(r"cowpoke explain", "tests/contract/test_explain.py"),
    Rule(r"cowpoke agent", "tests/e2e/test_drop_in.py"),
    Rule(r"cowpoke simulate", "tests/e2e/test_simulate.py"),
    Rule(r"docker compose exec simulator cowpoke simulate", "tests/e2e/test_simulate.py"),
    Rule(r"docker compose (exec redis|exec flower|logs|ps)", "tests/e2e/test_compose.py"),
    Rule(r"docker compose kill -s SIGUSR1", "tests/faults/test_log_level.py"),
    Rule(r"docker compose run .*(host-add|join|credentials)", "tests/e2e/test_compose_files.py"),
    Rule(r"docker compose (restart|down|up|build|--profile)", "tests/e2e/test_compose.py"),
    Rule(r"old=\$\(docker compose|docker stop -t 60", "tests/e2e/test_compose_upgrade.py"),
    Rule(r"scripts/upgrade", "tests/e2e/test_compose_upgrade.py"),
    Rule(r"docker run .*cowpoke:latest", "tests/e2e/test_drop_in.py"),
    Rule(r"docker exec .*cowpoke-agent .*(leave|join)", "tests/e2e/test_drop_in.py"),
    Rule(
        r"docker (exec|logs|restart|rm|stop|update|start).* (cowpoke|rancher)-agent",
        "tests/e2e/test_drop_in.py",
    ),
    Rule(r"curl -s http://127\.0\.0\.1:8080", "tests/unit/simulator/test_control.py"),
    Rule(r"docker build|scripts/image", "tests/e2e/test_compose.py"),
    Rule(r"make( |$)|scripts/redis|PATH=\S+ make", ".ci/run"),
    Rule(r"systemctl", "no: a test machine has no systemd; tests/contract/test_systemd_units.py"),
    Rule(r"redis-cli ACL LOAD", "tests/redis/test_acl.py"),
    Rule(r"pip install|python3 -m venv|/opt/cowpoke/bin/pip", "no: scripts/check-wheel does it"),
    Rule(r"ssh ", "no: it needs another machine"),
    Rule(r"docker inspect", "no: it reads a container of rancher/agent"),
    Rule(r"(cp|echo|export|install|printf|rm|tar|umask) ", _USERS_FILES),
)


@dataclass(frozen=True)
class Command:
    """One command line of a page."""

    page: str
    #: As the page has it, in one line.
    text: str
    rule: Rule | None

    @property
    def inside(self) -> str:
        """Return the command as it is called inside of the container."""
        return _INSIDE.sub("", self.text)


def rule_of(text: str) -> Rule | None:
    """Return the rule of a command, or None."""
    forms = (text, _INSIDE.sub("", text), _INSIDE.sub("", _BEFORE.sub("", text)))
    return next((one for one in RULES if any(re.match(one.pattern, form) for form in forms)), None)


def commands() -> list[Command]:
    """Return the commands of all pages: blocks of code, and `cowpoke ...` within the text."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = (*_in_blocks(text), *_in_text(text))
        found += [Command(page.name, line, rule_of(line)) for line in lines]
    return found


def _in_blocks(text: str) -> Iterator[str]:
    for block in _blocks(text):
        lines = [line.strip() for line in block.replace("\\\n", " ").splitlines() if line.strip()]
        if not lines:
            continue
        if _PROMPT.match(lines[0]):
            # What follows a prompt is what the command prints.
            lines = [_PROMPT.sub("", line) for line in lines if _PROMPT.match(line)]
        elif not _is_command(lines[0]):
            continue
        for line in lines:
            words = line.partition(" #")[0].strip()
            if words and not words.startswith("#"):
                yield re.sub(r"  +", " ", words)


def _is_command(line: str) -> bool:
    if line.startswith("export "):
        return True
    first = _BEFORE.sub("", line).partition(" ")[0]
    return first in _PROGRAMS or first.startswith(("scripts/", "/opt/cowpoke/bin/"))


def _blocks(text: str) -> Iterator[str]:
    """Yield indented and fenced blocks of code; a list's own text is no code."""
    for block in re.findall(r"(?m)((?:^(?: {4,})(?![-*] )\S.*\n(?:^\n(?= {4}))?)+)", text):
        # A paragraph of a list has fewer spaces than the code before it.
        yield from re.split(r"(?m)^(?= {4}\S)", block) if block.startswith(" " * 8) else [block]
    yield from re.findall(r"(?ms)^```(?:sh|bash|console)\n(.*?)^```", text)


def _in_text(text: str) -> Iterator[str]:
    """Yield the commands in a text: `cowpoke events show ID`, not the name `cowpoke events`."""
    for line in re.findall(r"`(cowpoke [^`\n]+)`", text):
        given = any(word.startswith("--") or word.isupper() for word in line.split())
        if (given or line in _COMPLETE) and "SUBCOMMAND" not in line:
            yield line
