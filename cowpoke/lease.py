"""The lease of a worker: what it holds, and how it is written to and read from Redis.

It lists the processes of the worker's lanes, the events it knows and the fingerprints of its keys.
It is sealed with the key of its host, so that a bridge believes only who has that key. The boot ids
of its processes are beside it in clear: the ledger's scripts look them up.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cowpoke.lengths import bounded_int
from cowpoke.seal import SealBrokenError, Sealer
from cowpoke.version import CONTRACT_VERSION

#: More is no lease of ours.
_LEASE_CHARS = 64 * 1024
_TEXT_CHARS = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneProcess:
    """A process of a worker that runs one lane."""

    lane: str
    #: `<worker id>.<lane>.<number of the start>`.
    boot_id: str
    #: What Celery and Flower call it.
    node: str = ""
    #: Whether it takes events from its queue now.
    consumes: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """One worker, as it introduces itself."""

    worker_id: str
    host_uuid: str
    lanes: tuple[LaneProcess, ...]
    #: The names of the events it can run.
    events: tuple[str, ...] = ()
    #: Of its keys, the one that seals first.
    fingerprints: tuple[str, ...] = ()
    hostname: str = ""
    #: Workers with the same domain share locks; those of one host must.
    lock_domain: str = ""
    version: str = ""
    started_ms: int = 0
    #: Volumes of the host that the janitor still has to remove.
    orphan_volumes: int = 0
    #: Its pid namespace and its supervisor's pid, `4026531836:17`; its health check reads it.
    process: str = ""

    @property
    def boot_ids(self) -> tuple[str, ...]:
        """The boot ids of its processes."""
        return tuple(process.boot_id for process in self.lanes)


def lease_text(lease: Lease, sealer: Sealer) -> str:
    """The lease as it lies in Redis."""
    content = {
        "v": CONTRACT_VERSION,
        "worker": lease.worker_id,
        "host": lease.host_uuid,
        "lanes": [
            {"lane": one.lane, "boot": one.boot_id, "node": one.node, "consumes": one.consumes}
            for one in lease.lanes
        ],
        "events": lease.events,
        "fingerprints": lease.fingerprints,
        "hostname": lease.hostname,
        "lock_domain": lease.lock_domain,
        "version": lease.version,
        "started_ms": lease.started_ms,
        "orphan_volumes": lease.orphan_volumes,
        "process": lease.process,
    }
    boots = list(lease.boot_ids)
    return json.dumps({"v": CONTRACT_VERSION, "boots": boots, "sealed": sealer.seal(content)})


def read_lease(text: str, sealer: Sealer, *, host_uuid: str, worker_id: str) -> Lease:
    """The lease in a key; keys of later versions are skipped.

    Errors: SealBrokenError when no worker with a key of this host wrote it for this worker.
    """
    try:
        if len(text) > _LEASE_CHARS:
            raise SealBrokenError(f"the lease has {len(text)} characters")
        content = sealer.open(str(json.loads(text)["sealed"]))
        lease = Lease(
            worker_id=_text(content["worker"]),
            host_uuid=_text(content["host"]),
            lanes=tuple(map(_lane_process, content["lanes"])),
            events=_texts(content.get("events")),
            fingerprints=_texts(content.get("fingerprints")),
            hostname=_text(content.get("hostname")),
            lock_domain=_text(content.get("lock_domain")),
            version=_text(content.get("version")),
            started_ms=bounded_int(content.get("started_ms")),
            orphan_volumes=bounded_int(content.get("orphan_volumes")),
            process=_text(content.get("process")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise SealBrokenError("not a valid lease") from None
    if (lease.host_uuid, lease.worker_id) != (host_uuid, worker_id):
        raise SealBrokenError("the lease belongs to another worker")
    return lease


def _lane_process(content: Mapping[str, Any]) -> LaneProcess:
    return LaneProcess(
        lane=_text(content["lane"]),
        boot_id=_text(content["boot"]),
        node=_text(content.get("node")),
        consumes=bool(content.get("consumes", True)),
    )


def _text(value: object) -> str:
    """Return a short text for logs and metrics; empty for nothing.

    Errors: ValueError.
    """
    text = "" if value is None else str(value)
    if len(text) > _TEXT_CHARS or not text.isprintable():
        raise ValueError("wanted a short printable text")
    return text


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(_text, value)) if isinstance(value, list) else ()
