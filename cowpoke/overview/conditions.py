"""The problems that a cowpoke installation can have: one table of codes for all readers.

`cowpoke status`, the status page, `cowpoke doctor`, the alerts and `docs/runbook.md` use these
codes. The code of a problem is also the anchor of its section in the runbook.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

RUNBOOK = "docs/runbook.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One kind of problem."""

    #: In kebab case; the anchor in the runbook.
    code: str
    #: What it means, in one sentence without a full stop.
    meaning: str
    #: What to do, in one sentence without a full stop.
    advice: str
    #: Whether work stops, or soon stops, until a person does something.
    needs_person: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A condition that is true of a part of this installation now."""

    code: str
    #: The part: a host uuid, `bridge <id>`, `redis`, or a key of Redis.
    subject: str
    #: What was found, in one sentence.
    message: str
    advice: str
    needs_person: bool

    @property
    def runbook(self) -> str:
        """The section of the runbook about it."""
        return f"{RUNBOOK}#{self.code}"


def problem(
    code: str, subject: str, message: str, *, needs_person: bool | None = None, advice: str = ""
) -> Problem:
    """Return a problem of a known code, with the advice and the urgency of the table.

    Errors: KeyError for a code that the table does not have.
    """
    known = CONDITIONS[code]
    return Problem(
        code=code,
        subject=subject,
        message=message,
        advice=advice or known.advice,
        needs_person=known.needs_person if needs_person is None else needs_person,
    )


#: code, needs a person, meaning, advice.
_ROWS = (
    # Redis
    (
        "redis-down",
        True,
        "Redis does not answer, or refuses the login",
        "start Redis, and check REDIS_URL and the network; no event is lost meanwhile",
    ),
    (
        "redis-refuses-writes",
        True,
        "Redis answers, but takes no writes, so all work stands still",
        "read the reason; check the log, the disk, the memory and the role of the Redis server",
    ),
    (
        "redis-memory",
        True,
        "Redis uses more than 80 % of its memory limit; at the limit it refuses all writes",
        "raise `maxmemory`, or find what fills it: `cowpoke hosts list` shows queues",
    ),
    (
        "redis-eviction",
        True,
        "Redis deletes keys when its memory is full, which loses events",
        "set `maxmemory-policy noeviction` in the configuration of Redis",
    ),
    (
        "redis-not-persistent",
        False,
        "Redis loses all events that are open when it restarts",
        "set `appendonly yes` and `appendfsync always` in the configuration of Redis",
    ),
    (
        "redis-version",
        True,
        "the version of Redis is not supported",
        "use Redis 6.2 or later; ACL rules need 7.0 or later",
    ),
    (
        "clock-differs",
        False,
        "the clock of this machine differs from that of the Redis server",
        "run a time service (NTP) on both machines",
    ),
    # Bridges and cattle
    (
        "no-bridge",
        True,
        "no bridge runs or reaches Redis: no event comes from cattle, and no reply reaches it",
        "start a bridge with `cowpoke bridge`, or see the log of the one that runs",
    ),
    (
        "bridge-not-ready",
        False,
        "a bridge cannot do its work; others may do it meanwhile",
        "ask it why: `cowpoke bridge health` beside it, or `/readyz` at its address",
    ),
    (
        "cattle-unreachable",
        True,
        "cattle cannot be reached",
        "check CATTLE_URL, the server, its certificate and the proxy",
    ),
    (
        "websocket-closed",
        True,
        "no bridge has an open websocket for an agent: cattle cannot send it events",
        "read the reason; see the log of the bridge (`stream.closed`)",
    ),
    (
        "cattle-silent",
        True,
        "the websocket of an agent is open, but cattle sends no pings to it",
        "check in Rancher whether the host is active, and reconnect or activate it",
    ),
    (
        "agent-keys-refused",
        True,
        "cattle refuses the API keys of an agent",
        "check the keys in the settings of the bridge, or join the host again",
    ),
    (
        "agent-removed",
        True,
        "cattle does not know the agent of a host any more: the host was removed in Rancher",
        "on the host: `cowpoke leave`, or `cowpoke join --new-register-key URL` for a new host",
    ),
    (
        "host-not-served",
        True,
        "a host joined, and no bridge uses its keys",
        "start a bridge with the CATTLE_URL that the host joined; see `cowpoke_agent_waiting`",
    ),
    (
        "host-unknown",
        True,
        "the agent of a bridge has no host: several could be its own, or all are other agents'",
        "start the worker of its host, or set `host_uuid` of the agent in BRIDGE_AGENTS_FILE",
    ),
    (
        "replies-stuck",
        True,
        "outcomes wait and are not sent to cattle",
        "check that cattle answers; see the log of the bridges (`reply.` and `replies.` lines)",
    ),
    # Hosts and workers
    (
        "host-without-worker",
        True,
        "no worker of a host runs, or none reaches Redis",
        "start the worker or see its log; if the host is gone for good: `cowpoke hosts forget`",
    ),
    (
        "lane-missing",
        True,
        "a worker runs, and a lane of its host takes no events",
        "see the log of the worker (`lane.` lines), and run `cowpoke worker health` on the host",
    ),
    (
        "engine-unreachable",
        True,
        "the Docker Engine of a host does not answer",
        "start Docker on the host, or check DOCKER_HOST of its worker",
    ),
    (
        "engine-version",
        True,
        "the Docker Engine of a host is too old",
        "upgrade Docker on the host",
    ),
    (
        "locks-not-shared",
        True,
        "workers of one host have different lock folders and can work on a container at once",
        "give all workers of the host the same state folder (CATTLE_HOME, CATTLE_LOCK_DIR)",
    ),
    (
        "orphan-volumes",
        False,
        "volumes of a host could not be removed because they were in use",
        "`cowpoke janitor --dry-run` on the host lists them; workers try again by themselves",
    ),
    (
        "state-folder",
        True,
        "the state folder of a host cannot be used",
        "check that the folder exists, is writable and has free space",
    ),
    # Keys
    (
        "keys-differ",
        True,
        "programs have different keys and cannot read what the others sealed",
        "compare QUEUE_KEY and HOST_KEY: `cowpoke key fingerprints`, `cowpoke key usage`",
    ),
    (
        "keys-missing",
        False,
        "no QUEUE_KEY is set: payloads are stored in clear in Redis",
        "make a key with `cowpoke key` and set QUEUE_KEY for all programs",
    ),
    (
        "versions-differ",
        False,
        "bridges and workers have different versions",
        "expected during an upgrade; otherwise upgrade the rest",
    ),
    # Events
    (
        "events-stuck",
        True,
        "an event is open although its deadline is over",
        "check that a bridge runs; look for the id of the event in the logs",
    ),
    (
        "many-errors",
        False,
        "most events of the last minutes failed or expired",
        "`cowpoke events list --outcome error` shows the codes and sentences",
    ),
    (
        "queue-slow",
        False,
        "messages wait long in the queue of a lane",
        "see what the worker logs about the lane; raise the number of its slots if needed",
    ),
    (
        "pings-slow",
        True,
        "pings wait so long that cattle disconnects the host",
        "see the log of the worker; check the load of the host and the Docker Engine",
    ),
    (
        "dead-letters",
        True,
        "messages or outcomes could not be read and were put aside",
        "`cowpoke dead-letters list` shows why; `cowpoke dead-letters drop` removes them",
    ),
    (
        "entry-unreadable",
        False,
        "a key of Redis contains something that no program of ours wrote",
        "it affects only this key; find out who writes to this Redis",
    ),
)

#: By code.
CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {
        code: Condition(code=code, meaning=meaning, advice=advice, needs_person=needs_person)
        for code, needs_person, meaning, advice in _ROWS
    }
)
