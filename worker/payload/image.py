"""Images as cattle describes them: what to pull, with whose credential, or how to build."""

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
    """An image's name, as cattle took it apart; `image_names` says what each version sends."""

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
    """The account that pulls; the secret never shows in a text or an error.

    The registry that cattle keeps with it is not read: a credential is sent to the registry of the
    image's own name (A 12.5).
    """

    public_value: Text
    secret_value: SecretStr


class UnreadableCredential(Payload):
    """A credential without an account or a secret; it fails only a pull that would need it."""

    reason: str


def _credential(value: object) -> object:
    if value is None or isinstance(value, RegistryCredential | UnreadableCredential):
        return value
    if not isinstance(value, Mapping):
        # Read as an object, the error would quote it.
        reason = f"registryCredential must be an object, found {found_word(value)}"
        return UnreadableCredential(reason=reason)
    try:
        return parse(RegistryCredential, value, "registryCredential")
    except PayloadError as error:
        return UnreadableCredential(reason=error.message)


class Build(Payload):
    """How to make the image instead of pulling it; other keys of cattle's are not passed on."""

    #: Where a tar file with the context is.
    context: Text | None = None
    #: A git url, with branch and folder behind `#`.
    remote: Text | None = None
    tag: Text | None = None
    dockerfile: Text | None = None
    nocache: Flag = None
    forcerm: Flag = None


class ImageFields(Payload):
    """The part of an image's fields that we use."""

    build: Build | None = None


class ImageData(Payload):
    """An image's own data column."""

    docker_image: DockerImage = Field(default_factory=DockerImage)
    fields: ImageFields = Field(default_factory=ImageFields)


class Image(Payload):
    """An image that a container or a pool wants."""

    id: Text | None = None
    uuid: Text | None = None
    name: Text | None = None
    data: ImageData = Field(default_factory=ImageData)
    registry_credential: Annotated[
        RegistryCredential | UnreadableCredential | None, BeforeValidator(_credential)
    ] = None

    @property
    def build(self) -> Build | None:
        """How to build it; None when it is to be pulled (A 12.12)."""
        build = self.data.fields.build
        return build if build is not None and (build.context or build.remote) else None

    @property
    def reference(self) -> ImageReference:
        """The image's name, resolved from every place that has it (A 3.4, W 1).

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
        """Return the image's name, or None when no place names one.

        `place` is where the event has this image; `also` are names outside of it.
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
    """A pull that an operator asked for, on one of many hosts."""

    kind: Text | None = None
    image: Image
    #: `all`: pull in any case; `cached`: only where the image already is (A 11.12, A 11.13).
    mode: Text = "all"
    #: The second event of a pull: take the temporary tag away.
    complete: Flag = None
    #: Appended to the tag of the temporary name.
    tag: Text | None = None

    @property
    def is_complete(self) -> bool:
        """Every host has pulled: the temporary tag may go."""
        return self.complete is True

    @property
    def only_if_cached(self) -> bool:
        """Hosts that do not have the image stay without it."""
        return self.mode == "cached"


def image_of(data: object) -> Image:
    """Read the image of an `imageStoragePoolMap` event; any kind of pool will do."""
    pool_map = member(data, "imageStoragePoolMap")
    return parse(Image, member(pool_map, "image"), "imageStoragePoolMap.image")


def pull_of(data: object) -> ImagePull:
    """Read the request of `compute.instance.pull`."""
    pull = parse(ImagePull, member(data, "instancePull"), "instancePull")
    only_docker(pull.kind, "instancePull")
    return pull
