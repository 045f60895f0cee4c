"""Pull or build an image, for activate, pull and image events.

Row numbers (A, C, W) refer to docs/parity.md.
"""

from typing import Any

from worker.engine import images
from worker.engine.images import Credential
from worker.engine.pulls import Pulls
from worker.errors import ImageNeededError, PayloadError
from worker.image_reference import ImageReference
from worker.operations.build import build_image
from worker.operations.context import Host
from worker.payload import Image, UnreadableCredential


def ensure_image(
    name: ImageReference, image: Image | None, host: Host, *, even_if_present: bool = False
) -> dict[str, Any]:
    """Return the inspect of an image; pull or build it once for all events (A 12.1, C 22).

    Errors: ImageNeededError in a lane that must not pull; PayloadError when a needed credential
    cannot be read; ImagePullError; ImageBuildError; EngineUnavailableError.
    """
    if not even_if_present and (found := images.present(host.engine, name)) is not None:
        return found
    build = image.build if image is not None else None
    if not host.may_pull:
        verb = "pulled" if build is None else "built"
        raise ImageNeededError(f"image {name} has to be {verb} first")
    if build is not None:
        return build_image(name, build, host, even_if_present=even_if_present)
    if name.is_id:
        raise PayloadError(f"image {name} is not on this host; an image id cannot be pulled")
    pulls = Pulls(
        host.engine,
        host.locks,
        host.settings.state_dir,
        idle_timeout_s=host.settings.pull_idle_timeout_s,
    )
    return pulls.want(
        name, _credential(name, image), host.report_progress, even_if_present=even_if_present
    )


def _credential(name: ImageReference, image: Image | None) -> Credential | None:
    """Return the registry account that cattle sent with the image (A 12.5, 12.6, W 11, W 24)."""
    given = image.registry_credential if image is not None else None
    if given is None:
        return None
    if isinstance(given, UnreadableCredential):
        raise PayloadError(f"cannot pull image {name}: {given.reason}")
    return Credential(
        username=given.public_value,
        password=given.secret_value.get_secret_value(),
        # The registry of the image, whatever registry cattle stores with the account.
        server_address=name.server_address,
    )
