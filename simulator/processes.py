"""Rules of cattle's processes around a call: replay, undo, remove. No state.

Rules from the recordings:

- A call that timed out is sent again with a new id, after a growing backoff.
- After an activate fails, cattle sends four more at once, each with a new id; then a deactivate,
  unless it was a no-op start.
- A first start that times out while its agent is reconnecting removes the instance: cattle sends
  `storage.volume.remove` for its root volume, and no more activates.
- The process of a removed agent ends.
- A first start is refused while its agent is reconnecting: "No healthy hosts".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.agents import Agent
    from simulator.call_record import CallRecord
    from simulator.wire import Event

ACTIVATE = "compute.instance.activate"
DEACTIVATE = "compute.instance.deactivate"
VOLUME_REMOVE = "storage.volume.remove"
ACTIVATE_TRIES = 5
RETRY_WAIT_MAX_S = 120.0
OF_ONE_CALL = ("id", "time", "replyTo", "context")
"""The keys of an event that its repetition gets anew."""


class NoHealthyHostError(ValueError):
    """A first start was requested while its agent is reconnecting."""


def retry_wait_s(attempt: int) -> float:
    """Return the seconds that cattle waits before it replays a process that timed out."""
    return float(min(RETRY_WAIT_MAX_S, 2 + 2 ** (attempt - 1) * 0.1))


def check_host(agent: Agent, event: Event) -> None:
    """Check that cattle would place an instance on the agent's host.

    Errors: NoHealthyHostError for a first start while the agent is reconnecting.
    """
    if agent.state == "reconnecting" and is_first_start(event):
        raise NoHealthyHostError(f"No healthy hosts: agent {agent.external_id} is reconnecting.")


def is_first_start(event: Event) -> bool:
    """Return whether an event starts an instance that never ran."""
    instance = _instance_of(event)
    return event.get("name") == ACTIVATE and instance.get("startCount") == 0


def replays(record: CallRecord) -> bool:
    """Return whether the process of an ended call sends its event again."""
    if record.agent.is_removed:
        return False
    if record.state == "timeout":
        return not loses_instance(record)
    return record.state == "error" and record.name == ACTIVATE and record.tries < ACTIVATE_TRIES


def loses_instance(record: CallRecord) -> bool:
    """Return whether cattle removes the instance, because its first start timed out."""
    timed_out = record.state == "timeout" and record.agent.state == "reconnecting"
    return timed_out and is_first_start(record.event or {})


def follow_up(record: CallRecord) -> Event | None:
    """Return the event that undoes a call whose process gives up, or None."""
    if record.event is None or record.name != ACTIVATE:
        return None
    if record.state == "error":
        return (
            None if _is_no_op(record.event) else {**without_call(record.event), "name": DEACTIVATE}
        )
    if loses_instance(record):
        return root_volume_removal(record.event.get("data"))
    return None


def without_call(event: Event) -> Event:
    """Return an event without the keys that belong to one call."""
    return {key: value for key, value in event.items() if key not in OF_ONE_CALL}


def root_volume_removal(data: object) -> Event | None:
    """Return the event that removes the root volume of the instance in an activate's data."""
    instance = _instance_of({"data": data})
    root = next((one for one in instance.get("volumes", []) if one.get("deviceNumber") == 0), None)
    if root is None:
        return None
    pools = root.get("storagePools") or [{}]
    inner = {key: value for key, value in instance.items() if key != "volumes"}
    removed = {**root, "state": "removed", "instance": {**inner, "state": "removed"}}
    pool_map = {
        "type": "volumeStoragePoolMap",
        "state": "removing",
        "volume": removed,
        "storagePool": pools[0],
    }
    return {
        "name": VOLUME_REMOVE,
        "resourceType": "volumeStoragePoolMap",
        "resourceId": f"1vspm{root.get('id')}",
        "data": {"volumeStoragePoolMap": pool_map},
    }


def _is_no_op(event: Event) -> bool:
    """Return whether an event only asks for a report; undoing it sends nothing."""
    process_data = (event.get("data") or {}).get("processData") or {}
    return process_data.get("containerNoOpEvent") is True


def _instance_of(event: Event) -> dict[str, Any]:
    data = event.get("data")
    host_map = data.get("instanceHostMap") if isinstance(data, dict) else None
    instance = host_map.get("instance") if isinstance(host_map, dict) else None
    return instance if isinstance(instance, dict) else {}
