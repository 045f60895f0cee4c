"""A container that stands in for `rancher-agent`: its name, its settings, its files, no agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import docker

OLD_AGENT = "rancher-agent"


class ContainerState(NamedTuple):
    """What a take-over must change of one container, and of no other."""

    is_running: bool
    restart_policy: str
    started_at: str


def start_old_agent(
    client: docker.APIClient,
    image: str,
    folder: Path,
    environment: Mapping[str, str],
    *,
    name: str = OLD_AGENT,
) -> str:
    """Start the container and return its id; `folder` is /var/lib/rancher of its host.

    Another `name` makes a container that is like it and not an agent.
    """
    config = client.create_host_config(
        binds=[f"{folder}:/var/lib/rancher"], restart_policy={"Name": "always"}
    )
    made = client.create_container(
        image, command=["/sleep.sh"], name=name, environment=dict(environment), host_config=config
    )
    client.start(made["Id"])
    return str(made["Id"])


def state_of(client: docker.APIClient, name: str) -> ContainerState:
    """Return whether a container runs, its restart policy, and when it was started."""
    found = client.inspect_container(name)
    policy = found["HostConfig"]["RestartPolicy"]["Name"]
    return ContainerState(found["State"]["Running"], policy, found["State"]["StartedAt"])
