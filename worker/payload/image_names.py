"""The name of an image, from all places in which the versions of cattle write it.

    image.data.dockerImage            {fullName, server}, since 2016: the registry is in `server`
                                      {fullName, qualifiedName, tag, ...}: older, with the registry
    image.name                        <server>/<fullName>, since 2016
    image.uuid                        docker:<name> in older servers, else a random uuid
    instance.data.fields.imageUuid    docker:<name> as the user wrote it

All places of an event must agree: an image of another registry, repository or tag than the user
wanted must never run.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from worker.errors import PayloadError
from worker.image_reference import ImageReference, Server

#: Precedes the name of an image in a uuid.
SCHEME = "docker:"


@dataclass(frozen=True, slots=True)
class NamedImage:
    """The name of an image and its place in the event."""

    place: str
    reference: ImageReference


@dataclass(frozen=True, kw_only=True, slots=True)
class DockerImageParts:
    """The parts of `dockerImage`; blank parts are None."""

    full_name: str | None
    qualified_name: str | None
    namespace: str | None
    repository: str | None
    tag: str | None
    server: str | None


def agreed(names: Iterable[NamedImage]) -> ImageReference | None:
    """Return the image that all places name, or None when there is no place.

    Errors: PayloadError that names two places which contradict each other.
    """
    first: NamedImage | None = None
    for name in names:
        if first is None:
            first = name
            continue
        merged = first.reference.merged(name.reference)
        if merged is None:
            raise _contradiction(first, name)
        # A later contradiction names the place that added the registry.
        is_more = first.reference.registry is None and name.reference.registry is not None
        first = NamedImage(name.place if is_more else first.place, merged)
    return first.reference if first is not None else None


def named_at(place: str, text: str | None) -> tuple[NamedImage, ...]:
    """Read a place with a complete name; return nothing if it is blank.

    Errors: PayloadError for a text that is no image name.
    """
    stripped = (text or "").strip().removeprefix(SCHEME)
    return (NamedImage(place, _read(place, stripped).complete()),) if stripped else ()


def named_by_uuid(place: str, uuid: str | None) -> tuple[NamedImage, ...]:
    """Read the uuid of an image if it contains a name; newer servers use random uuids."""
    return named_at(place, uuid) if (uuid or "").startswith(SCHEME) else ()


def named_by_label(place: str, name: str | None) -> tuple[NamedImage, ...]:
    """Read the name column of an image; a text that is no image name is only a title."""
    try:
        return named_at(place, name)
    except PayloadError:
        return ()


def named_by_parts(
    place: str, parts: DockerImageParts, others: Iterable[NamedImage]
) -> tuple[NamedImage, ...]:
    """Read `dockerImage`, whose parts must agree; return nothing if it names no repository.

    `others` are the names at other places of the event. They decide whether a `fullName` that
    begins like a registry is a repository of `server`.
    Errors: PayloadError that names the parts which contradict each other.
    """
    found: NamedImage | None = None
    for name in _names_in(place, parts):
        if found is None:
            found = name
        elif (merged := found.reference.merged(name.reference)) is not None:
            found = NamedImage(found.place, merged)
        else:
            raise _contradiction(found, name)
    if found is None:
        return ()
    if parts.tag and not found.reference.digest:
        found = _with_tag(found, place, parts.tag)
    if parts.server:
        found = _on_server(found, place, parts, tuple(others))
    return (NamedImage(found.place, found.reference.complete()),)


def _names_in(place: str, parts: DockerImageParts) -> Iterable[NamedImage]:
    if parts.full_name:
        yield NamedImage(f"{place}.fullName", _read(f"{place}.fullName", parts.full_name))
    if parts.qualified_name:
        # Old servers split a digest at its colon: `app@sha256`, and the rest as the tag.
        text = ":".join(filter(None, (parts.qualified_name, parts.tag)))
        yield NamedImage(f"{place}.qualifiedName", _read(f"{place}.qualifiedName", text))
    elif parts.repository and not parts.full_name:
        path = "/".join(filter(None, (parts.namespace, parts.repository)))
        text = ":".join(filter(None, (path, parts.tag)))
        yield NamedImage(f"{place}.repository", _read(f"{place}.repository", text))


def _with_tag(found: NamedImage, place: str, tag: str) -> NamedImage:
    said = ImageReference(found.reference.registry, found.reference.path, tag)
    merged = found.reference.merged(said)
    if merged is None:
        raise _contradiction(found, NamedImage(f"{place}.tag", said))
    return NamedImage(found.place, merged)


def _on_server(
    found: NamedImage, place: str, parts: DockerImageParts, others: tuple[NamedImage, ...]
) -> NamedImage:
    """Complete the name with the registry in `server`."""
    name, text = found.reference, parts.server or ""
    where = f"{place}.server"
    if name.registry is None and name.path.startswith(f"{text}/"):
        # Servers before 2016 read the first of three components as a registry.
        return found
    try:
        server = Server.parse(text)
        if name.registry is None:
            return NamedImage(where, server.join(name))
        if name.registry == server.registry:
            return found
    except PayloadError as error:
        raise PayloadError(f"{where}: {error.message}") from error
    if (inner := _inside(server, parts, others)) is not None:
        return NamedImage(where, inner)
    raise PayloadError(
        f"two places of the event name different registries: {found.place} names "
        f"{name.registry}, {where} names {server.registry}; correct the image's name"
    )


def _inside(
    server: Server, parts: DockerImageParts, others: tuple[NamedImage, ...]
) -> ImageReference | None:
    """Return a repository of the server whose name begins like a registry, or None.

    An example is `docker.io/library/redis` on a mirror. Only another place of the event can
    distinguish it from a contradiction.
    """
    try:
        inner = server.holding(parts.full_name or "")
    except PayloadError:
        return None
    return inner if any(other.reference.merged(inner) for other in others) else None


def _read(place: str, text: str) -> ImageReference:
    try:
        return ImageReference.partial(text)
    except PayloadError as error:
        raise PayloadError(f"{place}: {error.message}") from error


def _contradiction(one: NamedImage, two: NamedImage) -> PayloadError:
    return PayloadError(
        f"two places of the event name different images: {one.place} names "
        f"{one.reference.complete()}, {two.place} names {two.reference.complete()}; correct the "
        "image's name"
    )
