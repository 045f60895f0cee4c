"""One line for people about an event, and one about its result.

Flower, `cowpoke events` and the status page show these lines, and Celery's events carry them in
clear through Redis. So they are made of names, ids, images and addresses alone, which are public by
decision. Nothing of environments, labels, commands, options or credentials is ever read here.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cowpoke.events import Event
from cowpoke.routes import CONFIG_UPDATE, DELEGATE, PULL
from cowpoke.urls import without_logins

#: The longest line; a longer one ends with `…`.
MOST_CHARACTERS = 120
#: As many as the docker command shows of a container's id.
_ID_CHARACTERS = 12
#: The longest name, so that an image still has room after it.
_NAME_CHARACTERS = 48
_DOCKER_HUB = "index.docker.io/"
_UUID_SCHEME = "docker:"
_IMAGE = re.compile(r"[\w./:@+-]*")


def summary_of(event: Event) -> str:
    """Return what an event is about: `web-1 (1i37) nginx:1.25 on host1`.

    At most `MOST_CHARACTERS` printable characters; the type and id of the resource if nothing in
    the event has a name. No error, whatever the event contains.
    """
    words = " ".join(word for word in _subject(event) if word)
    return _line(words or event.resource)


def result_summary(event: Event, data: Mapping[str, Any], took_s: float) -> str:
    """Return what became of an event: `running 4f1c2ab39d10 10.42.3.7`, `pulled in 3.2 s`.

    `data` is the data of the reply; `took_s` is the time since the event was claimed. At most
    `MOST_CHARACTERS` printable characters. No error, whatever the data contains.
    """
    name, took = event.base_name, _duration(took_s)
    if name == "ping":
        return _ping_result(data, took)
    if name == PULL:
        is_over = _at(event.data, "instancePull", "complete") is True
        return f"cleaned up in {took}" if is_over else f"pulled in {took}"
    if name == CONFIG_UPDATE:
        items = data.get("upToDate")
        names = [_text(item) for item in items] if isinstance(items, list) else []
        return _line(f"up to date: {', '.join(names)}") if names else f"done in {took}"
    return _line(" ".join(_container_result(event, data)) or f"{_DONE.get(name, 'done')} in {took}")


#: What became of the resource of an event whose reply does not describe a container.
_DONE: Mapping[str, str] = {
    "compute.instance.activate": "started",
    "compute.instance.deactivate": "stopped",
    "compute.instance.force.stop": "stopped",
    "compute.instance.remove": "removed",
    "compute.instance.inspect": "not found",
    "storage.image.activate": "image ready",
    "storage.volume.activate": "volume ready",
    "storage.volume.deactivate": "volume released",
    "storage.volume.remove": "volume removed",
    "volume.remove": "volume removed",
    DELEGATE: "answered",
}


def _subject(event: Event) -> Iterator[str]:
    """Yield the words about the resource; which keys hold it depends on the event's name."""
    data = event.data
    for key in ("instanceHostMap", "imageStoragePoolMap", "volumeStoragePoolMap"):
        if isinstance(data.get(key), Mapping):
            yield from _of_map(data[key])
            return
    match event.base_name:
        case "compute.instance.pull":
            yield _image_name(_at(data, "instancePull", "image"))
        case "compute.instance.inspect":
            wanted = _at(data, "instanceInspect")
            yield _name(_at(wanted, "name")) or _short_id(_at(wanted, "id"))
        case "compute.instance.force.stop":
            yield _short_id(_at(data, "instanceForceStop", "id"))
        case "volume.remove":
            yield from _volume(_at(data, "volume"))
        case "config.update":
            items = data.get("items")
            names = [_name(_at(item, "name")) for item in items] if isinstance(items, list) else []
            yield ", ".join(filter(None, names))
        case "delegate.request":
            inner = _name(_at(data, "event", "name")).partition(";")[0]
            yield f"{inner} for" if inner else ""
            yield from _named(_at(data, "instanceData"), "i")


def _of_map(mapped: Mapping[str, Any]) -> Iterator[str]:
    """Yield the words about what cattle maps to a host or a storage pool."""
    if isinstance(instance := mapped.get("instance"), Mapping):
        yield from _named(instance, "i")
        yield _image_of(instance)
    elif isinstance(image := mapped.get("image"), Mapping):
        yield _image_name(image)
    elif isinstance(volume := mapped.get("volume"), Mapping):
        yield from _volume(volume)
    if host := _host_name(mapped.get("host")):
        yield f"on {host}"


def _volume(volume: object) -> Iterator[str]:
    yield from _named(volume, "v", default="volume")
    yield _name(_at(volume, "data", "fields", "driver"))
    if owner := _name(_at(volume, "instance", "name")):
        yield f"of {owner}"


def _named(resource: object, letters: str, default: str = "") -> Iterator[str]:
    """Yield the name and the id of a resource; cattle shows its ids with letters of the type."""
    yield _name(_at(resource, "name")) or default
    if number := _text(_at(resource, "id")):
        yield f"(1{letters}{number})" if number.isdecimal() else f"({number[:_NAME_CHARACTERS]})"


def _image_of(instance: object) -> str:
    written = _text(_at(instance, "data", "fields", "imageUuid"))
    return _image_text(written) or _image_name(_at(instance, "image"))


def _image_name(image: object) -> str:
    """Return the name of an image with its registry, from where the versions of cattle have it."""
    name = _text(_at(image, "name"))
    full_name = _text(_at(image, "data", "dockerImage", "fullName"))
    server = _text(_at(image, "data", "dockerImage", "server"))
    if full_name and server and not full_name.startswith(f"{server}/"):
        full_name = f"{server}/{full_name}"
    uuid = _text(_at(image, "uuid"))
    return _image_text(full_name or name or (uuid if uuid.startswith(_UUID_SCHEME) else ""))


def _image_text(text: str) -> str:
    """Return the name for people: without scheme, login and the registry that all images have.

    A text that is no image name, such as an url with a query, ends where it stops being one.
    """
    found = _IMAGE.match(without_logins(text.removeprefix(_UUID_SCHEME)))
    name, _, digest = (found[0] if found else "").partition("@sha256:")
    name = name.rpartition("@")[2].removeprefix(_DOCKER_HUB)
    return f"{name}@{digest[:_ID_CHARACTERS]}" if digest else name


def _host_name(host: object) -> str:
    fields = _at(host, "data", "fields")
    return (
        _name(_at(host, "name")) or _name(_at(fields, "hostname")) or _name(_at(host, "hostname"))
    )


def _container_result(event: Event, data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the state, the id and the address of the container that a reply describes."""
    if event.base_name == "compute.instance.inspect":
        inspect = _at(data, event.resource_type or "instanceInspect")
        container_id, address = _at(inspect, "Id"), _at(inspect, "NetworkSettings", "IPAddress")
    else:
        instance = _at(data, "instanceHostMap", "instance")
        report = _at(instance, "+data")
        inspect, container_id = _at(report, "dockerInspect"), _at(instance, "externalId")
        address = _at(report, "+fields", "dockerIp")
    if not _text(container_id):
        return
    state = _at(inspect, "State")
    is_running = _at(state, "Running") is True
    yield _name(_at(state, "Status")) or ("running" if is_running else "container")
    yield _short_id(container_id)
    if is_running and _text(address):
        yield _text(address).partition("/")[0]
    exit_code = _at(state, "ExitCode")
    if not is_running and isinstance(exit_code, int):
        yield f"exit code {exit_code}"


def _ping_result(data: Mapping[str, Any], took: str) -> str:
    resources = data.get("resources")
    found = resources if isinstance(resources, list) else []
    containers = sum(_at(one, "type") == "instance" for one in found)
    if not containers:
        return f"answered in {took}"
    return f"{containers} container{'s' if containers > 1 else ''} in {took}"


def _at(value: object, *keys: str) -> Any:  # noqa: ANN401 -- cattle's JSON
    """Return what is below the keys; None where an object or a key is missing."""
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def _text(value: object) -> str:
    """Return a text or a whole number as text; empty for anything else."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _name(value: object) -> str:
    return _cut(_text(value).lstrip("/"), _NAME_CHARACTERS)


def _short_id(value: object) -> str:
    return _text(value)[:_ID_CHARACTERS]


def _duration(seconds: float) -> str:
    return f"{max(seconds, 0):.1f} s"


def _line(text: str) -> str:
    """Return one line of printable text; anything else in it becomes a question mark."""
    line = "".join(one if one.isprintable() else "?" for one in " ".join(text.split()))
    return _cut(line, MOST_CHARACTERS)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
