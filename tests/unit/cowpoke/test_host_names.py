"""How commands understand the name of a host."""

import pytest

from cowpoke.cli.host_names import hosts_named

HOSTS = [
    (1, "0e866cd4-4116", "web-1.example.org"),
    (2, "0e86aaaa-4116", "web-2.example.org"),
    (3, "web-2", ""),
    (4, "112cb704-bb9c", "db.example.org"),
    (5, "5584ffc6-0a68", "db.example.com"),
    (6, "6ec899d3-955a", "0e"),
]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("0e866cd4-4116", [1]),
        ("web-2", [3]),
        ("web-2.example.org", [2]),
        ("0e", [6]),
        ("0e86", [1, 2]),
        ("11", [4]),
        ("web-1", [1]),
        ("db", [4, 5]),
        ("web", [3]),
        ("nobody", []),
        ("", []),
    ],
)
def test_the_best_fit_counts(name, found):
    """A uuid, a name, the beginning of a uuid, a name without its domain: in this order."""
    assert hosts_named(name, HOSTS) == found
