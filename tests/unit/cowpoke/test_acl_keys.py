"""Each key of `cowpoke/keys.py` has a row in its table and a decision in `cowpoke/acl.py`."""

import fnmatch
import inspect
import re
from pathlib import Path

import pytest

from cowpoke import acl, keys

OWN, OTHER = "h1", "h10"
PROJECT_DIR = Path(__file__).parents[3]
#: Rows of the table: the names of a key, and who writes it.
ROWS = [
    (re.findall(r"`([^`]+)`", names), writers)
    for names, _, writers, _ in re.findall(
        r"(?m)^\| (`cowpoke:.+?) \| (.+?) \| (.+?) \| (.+?) \|$", keys.__doc__
    )
]
#: Whose scripts these are; the others run in both programs.
BRIDGE_SCRIPTS = {
    "due.lua",
    "intake.lua",
    "outbox.py",
    "outcome_stream.py",
    "resealing.py",
    "hosts.lua",
}


def functions():
    """The functions of `keys` that return the name of a key."""
    found = [one for _, one in inspect.getmembers(keys, inspect.isfunction)]
    return [
        one
        for one in found
        if one.__module__ == keys.__name__
        and one is not keys.doorbell  # a channel
        and inspect.signature(one).return_annotation is str
        and name_of(one).startswith(keys.PREFIX)
    ]


def constants():
    """The names of keys that have no parameter."""
    found = [value for name, value in vars(keys).items() if name.isupper()]
    names = {one for one in found if isinstance(one, str) and one.startswith(keys.PREFIX)}
    return sorted(name for name in names if not name.endswith(":"))


def name_of(key, host=OWN):
    """One key of a kind: of a host where it is of one."""
    if isinstance(key, str):
        return key
    # A resource is a type and an id.
    known = {"host_uuid": host, "resource": "instance:7"}
    return key(*(known.get(name, "x") for name in inspect.signature(key).parameters))


def row_of(key):
    """The writers of a key, from the table; None where it has no row."""
    for names, writers in ROWS:
        for name in names:
            literal = [re.escape(part) for part in re.split(r"<[^>]+>", name)]
            if re.fullmatch("[^:]+".join(literal), name_of(key)):
                return writers
    return None


def shown(key):
    """A key as a sentence names it."""
    return repr(key) if isinstance(key, str) else f"keys.{key.__name__}"


KEYS = [*functions(), *constants()]


def test_the_keys_are_found():
    """Otherwise the tests below hold whatever happens."""
    assert {keys.event, keys.bridge, keys.wake, keys.OUTCOMES, keys.DUE} <= set(KEYS)
    assert len(ROWS) >= 19


@pytest.mark.parametrize("key", KEYS, ids=shown)
def test_each_key_has_a_row_and_a_decision(key):
    """Whoever adds a key says in the table what it is, and in the rules who may use it."""
    assert row_of(key) is not None, (
        f"the table in cowpoke/keys.py has no row for {shown(key)}; add its name, type, writer "
        "and lifetime"
    )
    groups = (acl.HOST_KEYS, acl.READABLE_KEYS, acl.BRIDGE_KEYS)
    assert sum(key in group for group in groups) == 1, (
        f"{shown(key)} must be in exactly one of HOST_KEYS (workers write it), READABLE_KEYS "
        "(workers read it) and BRIDGE_KEYS (workers do not use it) of cowpoke/acl.py"
    )


@pytest.mark.parametrize("key", KEYS, ids=shown)
def test_the_decision_is_that_of_the_table(key):
    """Workers may write what the table says they write, and nothing else."""
    writers = row_of(key)
    by_bridges_only = writers.startswith("bridge") and "worker" not in writers
    assert (key in acl.HOST_KEYS) is not by_bridges_only, (
        f"the table in cowpoke/keys.py says that {shown(key)} is written by: {writers}; "
        "HOST_KEYS in cowpoke/acl.py says something else"
    )


@pytest.mark.parametrize("key", KEYS, ids=shown)
def test_the_rules_follow_the_decision(key):
    """A host has its own key and not that of another one; a bridge has both."""
    grant = acl.host_rules(OWN).grant
    own, other = name_of(key), name_of(key, OTHER)
    assert is_matched(own, grant.keys) is (key in acl.HOST_KEYS)
    assert is_matched(own, grant.readable_keys) is (key in acl.READABLE_KEYS)
    assert not is_matched(own, grant.writable_keys)
    if key is not keys.bridge:
        assert not is_matched(other, (*grant.keys, *grant.readable_keys)) or own == other
    assert is_matched(own, acl.bridge_rules().grant.keys)
    assert not is_matched(own, acl.flower_rules().grant.keys)


def test_keys_that_hosts_write_name_their_host():
    """Otherwise one host writes what belongs to another."""
    for key in acl.HOST_KEYS:
        assert "host_uuid" in inspect.signature(key).parameters, f"{shown(key)} names no host"


def test_nothing_is_decided_that_is_no_key():
    """A key that was removed leaves the rules too."""
    decided = {*acl.HOST_KEYS, *acl.READABLE_KEYS, *acl.BRIDGE_KEYS}
    assert decided == set(KEYS)


def is_matched(key, patterns):
    """Whether one of Redis's patterns matches."""
    return any(fnmatch.fnmatchcase(key, one) for one in patterns)


def scripts():
    """The files of product code that contain Lua."""
    found = [
        *(PROJECT_DIR / "cowpoke").rglob("*.lua"),
        *(
            path
            for part in ("cowpoke", "bridge", "worker")
            for path in (PROJECT_DIR / part).rglob("*.py")
        ),
    ]
    return [path for path in found if "redis.call" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.name)
def test_each_command_of_a_script_is_allowed(path):
    """A script that calls a new command needs a right; it would fail with the first event."""
    found = re.findall(r"\('([A-Z]{3,})'", path.read_text(encoding="utf-8"))
    called = {command.lower() for command in found}
    rules = {"bridge": acl.bridge_rules()}
    if path.name not in BRIDGE_SCRIPTS and PROJECT_DIR / "bridge" not in path.parents:
        rules["host"] = acl.host_rules(OWN)
    for part, rule in rules.items():
        missing = sorted(called - set(rule.grant.commands))
        assert missing == [], (
            f"{path.name} calls {', '.join(missing)}, which the rules of the {part} in "
            "cowpoke/acl.py do not allow"
        )
