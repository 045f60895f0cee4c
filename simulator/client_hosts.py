"""The half of the client that concerns hosts: joining, removal, container events, secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from simulator.volumes import DataVolume

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SLACK_S = 10.0
"""How much longer than the server's own waiting the client is patient."""


class HostCalls:
    """Control calls about hosts; `Cattle` makes the requests."""

    def remove_agent(self, agent: str | int, *, drop_sockets: bool = False) -> dict[str, Any]:
        """Remove an agent and its keys; with `drop_sockets`, cut its sockets as well."""
        path = f"/agents/{quote(str(agent), safe='')}?drop_sockets={int(drop_sockets)}"
        return dict(self._ask("DELETE", path))

    def registration_token(self) -> dict[str, Any]:
        """Make a registration token: `token`, `registrationUrl`, `image`, `command`."""
        return dict(self._ask("POST", "/registrationtokens"))

    def registers(self) -> list[dict[str, Any]]:
        """Return all register objects: id, key, state, agent."""
        return list(self._ask("GET", "/registers"))

    def hosts(self, *, removed: bool = False) -> list[dict[str, Any]]:
        """Return all live hosts, or removed ones too, as the API shows them and more."""
        hosts = self._ask("GET", "/hosts")["hosts"]
        return [host for host in hosts if removed or host["state"] != "removed"]

    def ask_report(self, agent: str | int | None = None, *, wait_s: float = 15) -> dict[str, Any]:
        """Ping an agent now for stats, resources and instances, and take its report.

        Hosts are made by reports; this makes them where no regular pings are sent. Return the
        agent with its report.

        Errors: SimulatorError if it does not answer in time.
        """
        body = {"agent": agent, "wait_s": wait_s}
        return dict(self._ask("POST", "/reports", body, timeout_s=wait_s + SLACK_S))

    def report_problems(self) -> list[str]:
        """Return what reports of agents contained that cattle passes over in silence."""
        return list(self._ask("GET", "/hosts")["problems"])

    def remove_host(self, host: str, *, drop_sockets: bool = False) -> dict[str, Any]:
        """Remove a host, by id or reported uuid, with its agent and keys.

        cattle does not close the agent's sockets; `drop_sockets` does.
        """
        path = f"/hosts/{quote(host, safe='')}?drop_sockets={int(drop_sockets)}"
        return dict(self._ask("DELETE", path))

    def container_events(
        self,
        *,
        container: str | None = None,
        status: str | None = None,
        inspect: bool = True,
    ) -> list[dict[str, Any]]:
        """Return the container events received, oldest first, refused ones too.

        `event` is the body of a post, without dockerInspect if `inspect` is false; `received_ms`
        and `processed_ms` are milliseconds since 1970. `status` chooses by externalStatus.
        """
        asked = {"container": container, "status": status, "inspect": int(inspect)}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        return list(self._ask("GET", f"/containerevents?{query}")["events"])

    def container_event_problems(self) -> list[str]:
        """Return what container events contained that cattle takes in silence."""
        return list(self._ask("GET", "/containerevents")["problems"])

    def instances(self) -> list[dict[str, Any]]:
        """Return the instances that cattle knows: state, container, history of states."""
        return list(self._ask("GET", "/instances"))

    def secrets_volume(self, host: str, secrets: Sequence[Mapping[str, str]]) -> DataVolume:
        """Make a secrets volume for a host; each secret has name and value, perhaps uid, gid, mode.

        Mount it by `sample.instance_activate(..., volumes=[volume])`.
        """
        body = {"host": host, "secrets": [dict(one) for one in secrets]}
        return DataVolume(**self._ask("POST", "/secrets", body))

    def _ask(self, method: str, path: str, body: object = None, *, timeout_s: float = 60) -> Any:  # noqa: ANN401  JSON
        raise NotImplementedError
