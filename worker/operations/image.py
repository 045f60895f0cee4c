"""`storage.image.activate`: pull or build an image.

Row numbers (A) refer to docs/parity.md.
"""

from typing import Any

from cowpoke.events import Event
from worker.operations.context import Host
from worker.operations.images import ensure_image
from worker.payload import image_of, process_of
from worker.report import image_reply, wrapped


def activate_image(event: Event, host: Host) -> dict[str, Any]:
    """Pull or build the image if it is missing; return `{imageStoragePoolMap: {}}` (A 12.1, 12.17).

    Errors: ImageNeededError, ImagePullError, ImageBuildError, EngineUnavailableError.
    """
    image = image_of(event.data)
    done = wrapped(event, image_reply())
    if process_of(event.data).is_no_op:
        return done
    ensure_image(image.reference, image, host)
    return done
