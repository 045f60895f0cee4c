"""The calls to the Engine about images.

`pulls` decides which worker pulls, because all workers of the host share a pull.

Row numbers (A, C, W) refer to docs/parity.md.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from worker.engine.client import Call, Engine, segment
from worker.engine.json_lines import json_lines
from worker.errors import (
    EngineError,
    ImageInUseError,
    ImageMissingError,
    ImagePullError,
)
from worker.image_reference import ImageReference


@dataclass(frozen=True, kw_only=True, slots=True)
class Credential:
    """An account at the registry of an image; its representation has no password.

    `server_address` is `ImageReference.server_address`. Engines with the containerd image store
    ignore a credential with another address.
    """

    username: str
    password: str = field(repr=False)
    server_address: str

    @property
    def header(self) -> str:
        """The value of `X-Registry-Auth` (A 12.5, W 11)."""
        account = {
            "username": self.username,
            "password": self.password,
            "serveraddress": self.server_address,
        }
        return base64.urlsafe_b64encode(json.dumps(account).encode()).decode()

    def scrub(self, text: str) -> str:
        """Return the text without the secrets of the credential, which a registry may quote."""
        for secret in (self.header, self.password):
            if secret:
                text = text.replace(secret, "***")
        return text


def present(engine: Engine, name: ImageReference) -> dict[str, Any] | None:
    """Return the inspect of the image, or None without it; other errors are raised (A 12.3)."""
    call = Call(
        "GET",
        f"/images/{segment(name.reference)}/json",
        kind="image.inspect",
        wanted=f"inspect image {name}",
        refusal=_missing,
    )
    found: dict[str, Any] | None = engine.run_unless_missing(call, ImageMissingError)
    return found


def tag(engine: Engine, name: ImageReference, *, repository: str, tag: str) -> None:
    """Add a tag to the image; an existing tag moves from another image (A 11.14).

    Errors: ImageMissingError.
    """
    engine.run(
        Call(
            "POST",
            f"/images/{segment(name.reference)}/tag",
            kind="image.tag",
            wanted=f"tag image {name} as {repository}:{tag}",
            params={"repo": repository, "tag": tag},
            refusal=_missing,
        )
    )


def remove(engine: Engine, name: ImageReference) -> None:
    """Remove the name, and the image with its last name; a missing one is no error (A 11.15, C 15).

    Errors: ImageInUseError when it is the last name of an image that a container uses.
    """
    call = Call(
        "DELETE",
        f"/images/{segment(name.reference)}",
        kind="image.remove",
        wanted=f"remove image {name}",
        timeout_s=engine.work_timeout_s,
        refusal=_remove_refusal,
    )
    engine.run_unless_missing(call, ImageMissingError)


@contextmanager
def pull_stream(
    engine: Engine, name: ImageReference, credential: Credential | None, *, idle_timeout_s: float
) -> Iterator[Iterator[Mapping[str, Any]]]:
    """Start a pull and yield its progress lines as they arrive; closing it early cancels the pull.

    Errors: ImagePullError when the Engine refuses the pull immediately.
    """
    with engine.stream(
        Call(
            "POST",
            "/images/create",
            kind="image.pull",
            wanted=f"pull image {name}",
            params={"fromImage": name.repository, "tag": name.digest or name.tag or ""},
            headers={"X-Registry-Auth": credential.header} if credential else {},
            timeout_s=idle_timeout_s,
            refusal=_pull_refusal,
        )
    ) as response:
        yield json_lines(response)


def _missing(status: int, _words: str) -> type[EngineError] | None:
    return ImageMissingError if status == 404 else None  # noqa: PLR2004 - HTTP's own number


def _remove_refusal(status: int, _words: str) -> type[EngineError] | None:
    return {404: ImageMissingError, 409: ImageInUseError}.get(status)


def _pull_refusal(status: int, _words: str) -> type[EngineError] | None:
    # 401, 403, 404 and also 500 contain the message of the registry; 502 and 503 are a proxy's.
    return None if status > 500 else ImagePullError  # noqa: PLR2004 - HTTP's own number
