"""Synchronous client of the simulator's control API, for the demo and the tests."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from simulator.client_hosts import SLACK_S, HostCalls

if TYPE_CHECKING:
    from pathlib import Path


class SimulatorError(Exception):
    """The simulator refused a control call; its message says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """The result of one event; `record` is the full record of the simulator."""

    id: str
    state: str
    reply: dict[str, Any] | None
    elapsed_ms: float | None
    progress: list[dict[str, Any]] = field(default_factory=list)
    duplicates: list[dict[str, Any]] = field(default_factory=list)
    late: list[dict[str, Any]] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def data(self) -> dict[str, Any]:
        """Return the data of the final reply, or an empty dict."""
        return (self.reply or {}).get("data") or {}

    @property
    def message(self) -> str | None:
        """Return the failure text that the user sees; pull tasks show only the internal text."""
        is_pull = self.record.get("name") == "compute.instance.pull"
        text = "transitioningInternalMessage" if is_pull else "transitioningMessage"
        return (self.reply or {}).get(text)

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> Call:
        """Return the result of a record."""
        return cls(
            id=record["id"],
            state=record["state"],
            reply=record["final"],
            elapsed_ms=record["elapsed_ms"],
            progress=[reply["event"] for reply in record["progress"]],
            duplicates=[reply["event"] for reply in record["duplicates"]],
            late=[reply["event"] for reply in record["late"]],
            record=record,
        )


class Cattle(HostCalls):
    """A client of one simulator, by its URL with or without `/v1`. Thread-safe.

    An https server's certificate is checked against `ca_file`.
    """

    def __init__(self, base_url: str, *, ca_file: Path | None = None) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not parts.port:
            raise ValueError(
                f"The simulator's address must look like http://127.0.0.1:8080/v1, not {base_url!r}"
            )
        self._address = (parts.hostname, parts.port)
        is_tls = parts.scheme == "https"
        self._tls = ssl.create_default_context(cafile=ca_file) if is_tls else None
        self._local = threading.local()

    def call(  # noqa: PLR0913  one argument per field of a cattle event
        self,
        name: str = "",
        data: dict[str, Any] | None = None,
        *,
        resource_type: str | None = None,
        resource_id: str | None = None,
        event_id: str | None = None,
        reply_to: str | None = None,
        timeout_ms: float = 45_000,
        sends: int = 1,
        retries_new_id: int = 0,
        backoff_ms: float | None = None,
        as_process: bool = False,
        one_way: bool = False,
        raw_event: dict[str, Any] | None = None,
        wait_s: float = 60,
        agent: str | int | None = None,
    ) -> Call:
        """Send an event and wait for its end. Other arguments fill gaps in `raw_event`.

        With `as_process`, return the last call of cattle's process.
        """
        named = {
            "name": name or None,
            "data": data,
            "resourceType": resource_type,
            "resourceId": resource_id,
            "id": event_id,
            "replyTo": reply_to,
        }
        event = {key: value for key, value in named.items() if value is not None}
        body = {
            "event": {**(raw_event or {}), **event},
            "agent": agent,
            "timeout_ms": timeout_ms,
            "sends": sends,
            "retries_new_id": retries_new_id,
            "backoff_ms": backoff_ms,
            "as_process": as_process,
            "one_way": one_way,
            "wait_s": wait_s,
        }
        answer = self._ask("POST", "/events", body, timeout_s=wait_s + SLACK_S)
        if not wait_s:
            return Call(answer["id"], "one_way" if one_way else "waiting", None, None)
        return Call.of_record(answer)

    def send(self, name: str = "", data: dict[str, Any] | None = None, **options: Any) -> str:  # noqa: ANN401
        """Send an event without waiting and return its id; options as for `call`."""
        return self.call(name, data, **{**options, "wait_s": 0}).id

    def send_burst(
        self,
        name: str,
        data: object,
        *,
        copies: int,
        timeout_ms: float = 45_000,
        agent: str | int | None = None,
    ) -> list[str]:
        """Send an event for several resources at once; return the ids."""
        event = {"name": name, "data": data, "resourceType": "instanceHostMap"}
        body = {"event": event, "agent": agent, "timeout_ms": timeout_ms, "copies": copies}
        return list(self._ask("POST", "/events", body)["ids"])

    def wait(self, event_id: str, wait_s: float = 60) -> Call:
        """Wait for a call or its retry; return it when it ended or after the timeout."""
        path = f"/calls/{quote(event_id, safe='')}?wait_s={wait_s}"
        return Call.of_record(self._ask("GET", path, timeout_s=wait_s + SLACK_S))

    def record(self, event_id: str) -> dict[str, Any]:
        """Return the record of one call."""
        return dict(self._ask("GET", f"/calls/{quote(event_id, safe='')}"))

    def records(self, *, data: bool = True) -> list[dict[str, Any]]:
        """Return all records, oldest first; without payloads if there are many."""
        return list(self._ask("GET", f"/calls?data={int(data)}"))

    def stats(self) -> dict[str, Any]:
        """Return the server's counters."""
        return dict(self._ask("GET", "/stats"))

    def frames(self, text: str, *, agent: str | int | None = None) -> int:
        """Send any text on an agent's sockets; return the number of sockets."""
        return int(self._ask("POST", "/frames", {"text": text, "agent": agent})["sockets"])

    def faults(self, **knobs: Any) -> dict[str, Any]:  # noqa: ANN401
        """Set fault knobs (`drop_sockets=True` cuts at once); return all knobs."""
        return dict(self._ask("PUT", "/faults", knobs))

    def faults_off(self) -> dict[str, Any]:
        """Turn all faults off."""
        return dict(self._ask("DELETE", "/faults"))

    def agents(self) -> list[dict[str, Any]]:
        """Return all agents with state and last report."""
        return list(self._ask("GET", "/agents"))

    def add_agent(self, access_key: str, secret_key: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """Add an agent, or with kind="service" a service account."""
        body = {"access_key": access_key, "secret_key": secret_key, **more}
        return dict(self._ask("POST", "/agents", body))

    def close(self) -> None:
        """Close this thread's connection."""
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            del self._local.connection

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(*self._address, timeout=timeout_s)
        return http.client.HTTPSConnection(*self._address, timeout=timeout_s, context=self._tls)

    def _ask(self, method: str, path: str, body: object = None, *, timeout_s: float = 60) -> Any:  # noqa: ANN401  JSON
        """Make one control call on this thread's connection.

        Errors: SimulatorError for a refusal, OSError if the simulator is unreachable.
        """
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._connection(timeout_s)
            self._local.connection = connection
        connection.timeout = timeout_s
        if connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        encoded = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json"} if encoded else {}
        try:
            connection.request(method, f"/simulator{path}", encoded, headers)
            response = connection.getresponse()
            answer = json.loads(response.read() or b"null")
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if response.status >= http.client.BAD_REQUEST:
            raise SimulatorError(f"{method} {path}: {answer.get('message', answer)}")
        return answer
