"""How a person names a host: by its uuid, the beginning of it, or the name of its machine."""

from collections.abc import Callable, Iterable
from typing import TypeVar

_Host = TypeVar("_Host")


def hosts_named(name: str, hosts: Iterable[tuple[_Host, str, str]]) -> list[_Host]:
    """Return the hosts that a name fits best, of some hosts with their uuid and machine's name.

    A uuid is better than the full name of a machine, then come the beginning of a uuid, and the
    name of a machine without its domain. An empty name, of a variable that a script did not set,
    is that of no host.
    """
    known = list(hosts) if name else []
    ways: tuple[Callable[[str, str], bool], ...] = (
        lambda uuid, _: uuid == name,
        lambda _, machine: machine == name,
        lambda uuid, _: uuid.startswith(name),
        lambda _, machine: machine.partition(".")[0] == name,
    )
    for fits in ways:
        if found := [host for host, uuid, machine in known if fits(uuid, machine)]:
            return found
    return []
