"""Getting an image onto this host: what activate, pull and image events have in common."""

from typing import Any

from worker.engine import images
from worker.engine.images import Credential, ImageName
from worker.engine.pulls import Pulls
from worker.errors import ImageNeededError
from worker.operations.build import build_image
from worker.operations.context import Host
from worker.payload import Image


def ensure_image(
    name: ImageName, image: Image | None, host: Host, *, even_if_present: bool = False
) -> dict[str, Any]:
    """The image's inspect, once it is here; got once for all who want it (A 12.1, 12.12, C 22).

    Errors: ImageNeededError in a lane that must not pull; ImagePullError; ImageBuildError;
    EngineUnavailableError.
    """
    if not even_if_present and (found := images.present(host.engine, name)) is not None:
        return found
    build = image.build if image is not None else None
    if not host.may_pull:
        verb = "pulled" if build is None else "built"
        raise ImageNeededError(f"image {name} has to be {verb} first")
    if build is not None:
        return build_image(name, build, host, even_if_present=even_if_present)
    pulls = Pulls(
        host.engine,
        host.locks,
        host.settings.state_dir,
        idle_timeout_s=host.settings.pull_idle_timeout_s,
    )
    return pulls.want(
        name, _credential_of(image), host.report_progress, even_if_present=even_if_present
    )


def _credential_of(image: Image | None) -> Credential | None:
    """The registry account that cattle sent with the image (A 12.5, 12.6)."""
    given = image.registry_credential if image is not None else None
    if given is None:
        return None
    return Credential(
        username=given.public_value,
        password=given.secret_value.get_secret_value(),
        server_address=given.server_address or "",
    )
