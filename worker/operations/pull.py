"""`compute.instance.pull`: an operator pulls an image onto many hosts, in two events per host.

The first pulls and gives the image a temporary second name, so that a half finished round leaves
the old image in use; the second, `complete`, takes the temporary name away.
"""

from dataclasses import replace
from typing import Any

from worker.contract.events import Event
from worker.engine import images
from worker.engine.images import ImageName
from worker.operations.context import Host
from worker.operations.images import ensure_image
from worker.operations.temporary_tags import TemporaryTags
from worker.payload import pull_of
from worker.report import pull_reply


def pull(event: Event, host: Host) -> dict[str, Any]:
    """The pulled image's inspect in `fields.dockerImage` (A 11.12 to 11.16).

    `{}` for the second event, and where only hosts that have the image were meant.
    An image that is to be built is built anew (A 11.17).
    Errors: ImageNeededError, ImagePullError, ImageBuildError, EngineError.
    """
    request = pull_of(event.data)
    assert request.image.full_name is not None
    name = ImageName.parse(request.image.full_name)
    if request.is_complete:
        if request.tag:
            temporary = replace(name, tag=_tag(name, request.tag), digest=None)
            images.remove(host.engine, temporary)
            TemporaryTags(host.settings.state_dir).forget(temporary.reference)
        return pull_reply(None)
    if request.only_if_cached and images.present(host.engine, name) is None:
        return pull_reply(None)
    found = ensure_image(name, request.image, host, even_if_present=True)
    if request.tag:
        tag = _tag(name, request.tag)
        TemporaryTags(host.settings.state_dir).remember(f"{name.repository}:{tag}")
        images.tag(host.engine, name, repository=name.repository, tag=tag)
    return pull_reply(found)


def _tag(name: ImageName, suffix: str) -> str:
    """The temporary tag; an image named by its digest has none of its own (A 12.2)."""
    return f"{name.tag or ''}{suffix}"
