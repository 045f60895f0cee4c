"""docs/security.md says of each Redis key what the rules allow, and cites tests that exist."""

import re

from cowpoke import keys
from cowpoke.acl import HOST_KEYS, READABLE_KEYS
from tests.readme_table import PROJECT

PAGE = PROJECT / "docs" / "security.md"


def rows(heading):
    """Return the rows of the first table below a heading."""
    text = PAGE.read_text(encoding="utf-8").partition(f"{heading}\n")[2]
    return re.findall(r"(?m)^\| (.+) \|$", text.partition("\n## ")[0])


def kind(key):
    """Return the word of a key after `cowpoke:`."""
    name = key if isinstance(key, str) else key(*"abc"[: key.__code__.co_argcount])
    return name.removeprefix(keys.PREFIX).partition(":")[0]


def test_the_rights_of_a_host_are_those_of_the_rules():
    """A key that a worker gets more, or no longer, changes the page."""
    table = rows("## Redis ACL")
    used = next(row for row in table if row.startswith("use `event`")).partition(" | ")[0]
    read = next(row for row in table if row.startswith("read the key notes")).partition(" | ")[0]
    assert set(re.findall(r"`([\w-]+)`", used)) == {kind(key) for key in HOST_KEYS}
    assert set(re.findall(r"`([\w-]+)`", read)) == {kind(key) for key in READABLE_KEYS}


def test_every_cited_test_exists():
    """An answer to a threat is proved by a test."""
    cited = set(
        re.findall(r"`((?:tests|scripts)/[\w./-]+)`", "\n".join(rows("### Threats and answers")))
    )
    assert len(cited) > 10
    assert {path for path in cited if not (PROJECT / path).is_file()} == set()
