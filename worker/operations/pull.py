"""`compute.instance.pull`: pull an image onto many hosts, in two events per host.

The first event pulls the image and adds a temporary second tag, so that an incomplete round leaves
the old image in use. The second event (`complete`) removes the temporary tag.

Row numbers (A) refer to docs/parity.md.
"""

from dataclasses import replace
from typing import Any

from cowpoke.events import Event
from cowpoke.log import logger
from worker.engine import images
from worker.errors import ImageInUseError
from worker.host.name_store import temporary_tags
from worker.image_reference import ImageReference
from worker.operations.context import Host
from worker.operations.images import ensure_image
from worker.payload import pull_of
from worker.report import pull_reply

_log = logger(__name__)


def pull(event: Event, host: Host) -> dict[str, Any]:
    """Pull the image; return its inspect in `fields.dockerImage` (A 11.12 to 11.16).

    Return `{}` for the second event, and if a pull for hosts that have the image does not apply to
    this host. An image with build options is built again (A 11.17).
    Errors: ImageNeededError, ImagePullError, ImageBuildError, EngineError.
    """
    request = pull_of(event.data)
    name = request.image.reference
    temporary = _temporary(name, request.tag)
    if request.is_complete:
        if temporary is not None and not (name.digest and _holds_the_digest(temporary, host)):
            _remove_tag(temporary, host)
        return pull_reply(None)
    if request.only_if_cached and images.present(host.engine, name) is None:
        return pull_reply(None)
    found = ensure_image(name, request.image, host, even_if_present=True)
    if temporary is not None:
        assert temporary.tag is not None
        if not name.digest:
            temporary_tags(host.settings.state_dir).add(temporary.reference)
        images.tag(host.engine, name, repository=temporary.repository, tag=temporary.tag)
    return pull_reply(found)


def _temporary(name: ImageReference, suffix: str | None) -> ImageReference | None:
    """Return the temporary name; an image named by digest has no tag to append to (A 12.2)."""
    return replace(name, tag=f"{name.tag or ''}{suffix}", digest=None) if suffix else None


def _holds_the_digest(temporary: ImageReference, host: Host) -> bool:
    """Return whether the tag is the last one of its repository on the image.

    With the last tag the Engine also removes the digests of the repository, by one of which cattle
    named the image.
    """
    found = images.present(host.engine, temporary) or {}
    tags = [tag.rpartition(":") for tag in found.get("RepoTags") or ()]
    own = {repository for repository, _, tag in tags if tag == temporary.tag}
    return bool(tags) and all(tag == temporary.tag for repo, _, tag in tags if repo in own)


def _remove_tag(temporary: ImageReference, host: Host) -> None:
    try:
        images.remove(host.engine, temporary)
    except ImageInUseError as error:
        # The real tag has moved to a newer image, and a container uses the old image under this
        # name. The janitor removes the name after the container.
        _log.warning("tag.kept", image=str(temporary), reason=error.message)
    else:
        temporary_tags(host.settings.state_dir).discard(temporary.reference)
