"""Images: what to pull, with which credential, or how to build.

Row numbers (A, W) refer to docs/parity.md.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr

from worker.errors import PayloadError
from worker.image_reference import ImageReference
from worker.payload.base import Flag, Payload, Text, found_word, member, only_docker, parse
from worker.payload.image_names import (
    DockerImageParts,
    NamedImage,
    agreed,
    named_by_label,
    named_by_parts,
    named_by_uuid,
)


class DockerImage(Payload):
    """The parts of an image's name; `image_names` explains what each version of cattle sends."""

    full_name: Text | None = None
    qualified_name: Text | None = None
    tag: Text | None = None
    namespace: Text | None = None
    repository: Text | None = None
    server: Text | None = None

    @property
    def parts(self) -> DockerImageParts:
        """The parts of the name; blank ones are None."""

        def said(text: str | None) -> str | None:
            return (text or "").strip() or None

        return DockerImageParts(
            full_name=said(self.full_name),
            qualified_name=said(self.qualified_name),
            namespace=said(self.namespace),
            repository=said(self.repository),
            tag=said(self.tag),
            server=said(self.server),
        )


class RegistryCredential(Payload):
    """The account for a pull; its secret never appears in texts or errors.

    The registry that cattle stores with the account is not read: a credential is sent to the
    registry in the image's name (A 12.5).
    """

    public_value: Text
    secret_value: SecretStr


class UnreadableCredential(Payload):
    """A credential without an account or a secret; only a pull that needs it fails."""

    reason: str


def _credential(value: object) -> object:
    if value is None or isinstance(value, RegistryCredential | UnreadableCredential):
        return value
    if not isinstance(value, Mapping):
        # The error of pydantic would quote the value.
        reason = f"registryCredential must be an object, found {found_word(value)}"
        return UnreadableCredential(reason=reason)
    try:
        return parse(RegistryCredential, value, "registryCredential")
    except PayloadError as error:
        return UnreadableCredential(reason=error.message)


class Build(Payload):
    """How to build the image instead of pulling it; other keys of cattle are ignored."""

    #: The URL of a tar file with the build context.
    context: Text | None = None
    #: A git URL, with branch and folder after `#`.
    remote: Text | None = None
    tag: Text | None = None
    dockerfile: Text | None = None
    nocache: Flag = None
    forcerm: Flag = None


class ImageFields(Payload):
    """The fields of an image that we use."""

    build: Build | None = None


class ImageData(Payload):
    """The data column of an image."""

    docker_image: DockerImage = Field(default_factory=DockerImage)
    fields: ImageFields = Field(default_factory=ImageFields)


class Image(Payload):
    """An image of a container or a storage pool."""

    id: Text | None = None
    uuid: Text | None = None
    name: Text | None = None
    data: ImageData = Field(default_factory=ImageData)
    registry_credential: Annotated[
        RegistryCredential | UnreadableCredential | None, BeforeValidator(_credential)
    ] = None

    @property
    def build(self) -> Build | None:
        """How to build the image; None if it is pulled (A 12.12)."""
        build = self.data.fields.build
        return build if build is not None and (build.context or build.remote) else None

    @property
    def reference(self) -> ImageReference:
        """The name of the image, from all places of the event that name it (A 3.4, W 1).

        Errors: PayloadError when no place names an image, one is unreadable, or two contradict.
        """
        found = self.named_in("image")
        if found is None:
            raise PayloadError(
                "the event must name an image in image.data.dockerImage.fullName, image.name or "
                "image.uuid, found none of them"
            )
        return found

    def named_in(self, place: str, also: tuple[NamedImage, ...] = ()) -> ImageReference | None:
        """Return the name of the image, or None when no place names one.

        `place` is the path of this image in the event; `also` are names at other paths.
        Errors: PayloadError when a place is unreadable, or two contradict each other.
        """
        others = (
            *named_by_uuid(f"{place}.uuid", self.uuid),
            *also,
            *named_by_label(f"{place}.name", self.name),
        )
        parts = self.data.docker_image.parts
        return agreed((*named_by_parts(f"{place}.data.dockerImage", parts, others), *others))


class ImagePull(Payload):
    """A pull of an image, on one of many hosts."""

    kind: Text | None = None
    image: Image
    #: `all`: pull always; `cached`: only if the host has the image (A 11.12, A 11.13).
    mode: Text = "all"
    #: Whether this is the second event of a pull, which removes the temporary tag.
    complete: Flag = None
    #: Appended to the tag of the temporary name.
    tag: Text | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every host has pulled, so that the temporary tag is removed."""
        return self.complete is True

    @property
    def only_if_cached(self) -> bool:
        """Whether hosts without the image skip the pull."""
        return self.mode == "cached"


def image_of(data: object) -> Image:
    """Parse the image of an `imageStoragePoolMap` event; the kind of the pool does not matter."""
    pool_map = member(data, "imageStoragePoolMap")
    return parse(Image, member(pool_map, "image"), "imageStoragePoolMap.image")


def pull_of(data: object) -> ImagePull:
    """Parse the request of `compute.instance.pull`."""
    pull = parse(ImagePull, member(data, "instancePull"), "instancePull")
    only_docker(pull.kind, "instancePull")
    return pull
