"""Volumes, bind mounts, and containers whose volumes are shared.

Row numbers (A, B) refer to docs/parity.md.
"""

from worker.create.facts import DEFAULT_DOCKER_ROOT, Facts, is_below_docker
from worker.create.fragment import Fragment, given
from worker.create.managed_network import (
    is_on_wait_dir,
    wait_mount,
    waits_for_network,
)
from worker.errors import PayloadError
from worker.payload import Instance


def volumes(instance: Instance, facts: Facts) -> Fragment:
    """Return anonymous volumes, bind mounts, and volumes of other containers.

    Shape:  Volumes {path: {}}, HostConfig.Binds `source:target:mode`, HostConfig.VolumesFrom ids;
        HostConfig.Mounts for the wait program beside a volume driver.
    Errors: `PayloadError` for a text with an empty or a fourth part.
    Source: A 6.6 to 6.9, 6.12, B.3. Binds are a list, so one source may be mounted twice.
        Containers that are not on this host are skipped. B.2: in a managed network the wait
        program is mounted, and nothing else may be mounted on its folder.
    """
    waits = waits_for_network(instance, facts.image_command)
    wait = wait_mount(instance.fields.volume_driver) if waits else {}
    anonymous: dict[str, dict[str, str]] = {}
    binds: list[str] = []
    for text in instance.fields.data_volumes:
        source, *rest = _parts(text)
        if waits and is_on_wait_dir(rest[0] if rest else source):
            continue
        if rest:
            binds.extend(_binds(source, rest, facts))
        elif source not in facts.mount_points:
            anonymous[source] = {}
    others = [
        facts.container_ids[ref.key]
        for ref in instance.data_volumes_from_containers
        if ref.key is not None and ref.key in facts.container_ids
    ]
    return Fragment(
        config=given({"Volumes": anonymous}),
        host_config=given(
            {"VolumesFrom": others, **wait, "Binds": [*binds, *wait.get("Binds", ())]}
        ),
    )


def named_volumes(instance: Instance) -> tuple[str, ...]:
    """Return the names of the volumes that the container mounts, without duplicates."""
    sources = (_parts(text) for text in instance.fields.data_volumes)
    return tuple(
        dict.fromkeys(source for source, *rest in sources if rest and not source.startswith("/"))
    )


def _parts(text: str) -> list[str]:
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):  # noqa: PLR2004 - source, target, mode
        raise PayloadError(
            f"a volume must be PATH, SOURCE:PATH or SOURCE:PATH:MODE, found {text!r} in dataVolumes"
        )
    return parts


def _binds(source: str, rest: list[str], facts: Facts) -> list[str]:
    """Return one bind mount, or two for Docker's root folder if Docker uses another one (A 6.11).

    The container then finds the folder at the default path and at the path that Docker reports. A
    volume that its driver has mounted is bound from its mount point (B.3).
    """
    target, mode = rest[0], rest[1] if len(rest) > 1 else "rw"
    if (mount_point := facts.mount_points.get(source)) is not None:
        return [f"{mount_point}:{target}:{mode}"]
    root = facts.docker_root.rstrip("/")
    if not is_below_docker(source) or root == DEFAULT_DOCKER_ROOT:
        return [f"{source}:{target}:{mode}"]
    real = root + source.rstrip("/").removeprefix(DEFAULT_DOCKER_ROOT)
    binds = [f"{real}:{target}:{mode}"]
    if real == root and target != root:
        binds.append(f"{root}:{root}:{mode}")
    return binds
