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


def read_overview(client: "redis.Redis", keyring: ClusterKeyring) -> Overview:
    """Return what goes on in a Redis, by a few round trips.

    Errors: redis.RedisError when Redis does not answer, or the user may not ask.
    """
    problems: list[Problem] = []
    server = read_redis(client, problems)
    uuids = []
    for name in known_hosts(client):
        if keys.is_host_uuid(name):
            uuids.append(name)
        else:
            problems.append(problem("entry-unreadable", keys.HOSTS, f"no host uuid: {name}"))
    read = read_hosts(client, keyring, uuids)
    problems += read.problems
    bridges = read_bridges(client, keyring, read.bridge_ids, problems)
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
    """Return the hosts that a bridge knows or that joined; some may be no host uuid.

    Errors: redis.RedisError.
    """
    with_events, seen = ask(client, [("SMEMBERS", keys.HOSTS), ("ZRANGE", keys.SEEN, 0, -1)])
    return sorted({*texts(with_events), *texts(seen), *JoinedNotes(client).hosts()})


def _once(problems: Collection[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))
