"""The one reading of Redis for people, the status page and metrics. It changes nothing."""

from collections.abc import Collection
from dataclasses import replace

import redis

from cowpoke import keys
from cowpoke.joined import JoinedNotes
from cowpoke.overview.answers import ask, texts
from cowpoke.overview.bridges import by_host, read_bridges
from cowpoke.overview.conditions import Problem, problem
from cowpoke.overview.finding import find_problems
from cowpoke.overview.hosts import read_hosts
from cowpoke.overview.redis_server import read_redis
from cowpoke.overview.views import Overview
from cowpoke.seal import ClusterKeyring

_BOTH = "cowpoke:[bj]*"


def read_overview(client: "redis.Redis", keyring: ClusterKeyring) -> Overview:
    """Return what goes on in a Redis, by a few round trips.

    Errors: redis.RedisError when Redis does not answer, or the user may not ask.
    """
    problems: list[Problem] = []
    server = read_redis(client, problems)
    joined, bridge_ids = _named(client)
    uuids = []
    for name in sorted(joined | _listed(client)):
        if keys.is_host_uuid(name):
            uuids.append(name)
        else:
            problems.append(problem("entry-unreadable", keys.HOSTS, f"no host uuid: {name}"))
    read = read_hosts(client, keyring, uuids)
    problems += read.problems
    bridges = read_bridges(client, keyring, read.bridge_ids | bridge_ids, problems)
    reports = by_host(bridges)
    # The agent of a host may be known before one of its workers ever ran.
    missing = sorted(set(filter(keys.is_host_uuid, reports)) - set(uuids))
    if missing:
        more = read_hosts(client, keyring, missing)
        problems += more.problems
        read.hosts = sorted([*read.hosts, *more.hosts], key=lambda host: host.host_uuid)
    hosts = [replace(host, websockets=reports.get(host.host_uuid, ())) for host in read.hosts]
    problems += find_problems(server, bridges, hosts)
    return Overview(
        redis=server,
        bridges=tuple(bridges),
        hosts=tuple(hosts),
        problems=tuple(sorted(_once(problems), key=lambda one: not one.needs_person)),
    )


def known_hosts(client: "redis.Redis") -> list[str]:
    """Return the hosts that a bridge knows, that have a worker or that joined.

    Some may be no host uuid.

    Errors: redis.RedisError.
    """
    return sorted(JoinedNotes(client).hosts() | _listed(client))


def _named(client: "redis.Redis") -> tuple[set[str], set[str]]:
    """Return the hosts that joined and the live bridges; no list names all of them.

    A bridge whose agents have no host yet, or without an agent, has a lease and nothing else.
    """
    joined, bridge_ids = set(), set()
    # One look at the names of all keys for both.
    for name in map(str, client.scan_iter(match=_BOTH, count=JoinedNotes.AT_ONCE)):
        if name.startswith(keys.JOINED_PREFIX):
            joined.add(name.removeprefix(keys.JOINED_PREFIX))
        elif name.startswith(keys.BRIDGE_PREFIX):
            bridge_ids.add(name.removeprefix(keys.BRIDGE_PREFIX))
    return set(filter(keys.is_host_uuid, joined)), bridge_ids


def _listed(client: "redis.Redis") -> set[str]:
    with_events, seen, workers = ask(
        client,
        [
            ("SMEMBERS", keys.HOSTS),
            ("ZRANGE", keys.SEEN, 0, -1),
            # Also workers whose lease no bridge can open: they are never seen.
            ("ZRANGE", keys.ALIVE, 0, -1),
        ],
    )
    alive = (name.partition(" ")[0] for name in texts(workers))
    return {*texts(with_events), *texts(seen), *alive}


def _once(problems: Collection[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))
