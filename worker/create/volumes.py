"""Volumes, binds, and the containers whose volumes are shared."""

from worker.create.facts import DEFAULT_DOCKER_ROOT, Facts, is_below_docker
from worker.create.fragment import Fragment, given
from worker.errors import PayloadError
from worker.payload import Instance


def volumes(instance: Instance, facts: Facts) -> Fragment:
    """Anonymous volumes, binds, and volumes of other containers.

    Shape:  Volumes {path: {}}, HostConfig.Binds `source:target:mode`, HostConfig.VolumesFrom ids.
    Errors: `PayloadError` for a text with an empty or a fourth part.
    Source: A 6.6 to 6.9, 6.12. Binds are a list, so one source may be seen at two places;
        containers that are not on this host are skipped.
    """
    anonymous: dict[str, dict[str, str]] = {}
    binds: list[str] = []
    for text in instance.fields.data_volumes:
        source, *rest = _parts(text)
        if rest:
            binds.extend(_binds(source, rest, facts))
        else:
            anonymous[source] = {}
    others = [
        facts.container_ids[ref.key]
        for ref in instance.data_volumes_from_containers
        if ref.key is not None and ref.key in facts.container_ids
    ]
    return Fragment(
        config=given({"Volumes": anonymous}),
        host_config=given({"Binds": binds, "VolumesFrom": others}),
    )


def named_volumes(instance: Instance) -> tuple[str, ...]:
    """The volumes that the container mounts by name, each once."""
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
    """One bind; two when it is Docker's root folder and Docker's is elsewhere (A 6.11).

    What is looked for inside is then at the usual place and at the place that Docker itself names.
    """
    target, mode = rest[0], rest[1] if len(rest) > 1 else "rw"
    root = facts.docker_root.rstrip("/")
    if not is_below_docker(source) or root == DEFAULT_DOCKER_ROOT:
        return [f"{source}:{target}:{mode}"]
    real = root + source.rstrip("/").removeprefix(DEFAULT_DOCKER_ROOT)
    binds = [f"{real}:{target}:{mode}"]
    if real == root and target != root:
        binds.append(f"{root}:{root}:{mode}")
    return binds
