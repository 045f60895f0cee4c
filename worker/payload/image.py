"""Images as cattle describes them: what to pull, with whose credential, or how to build."""

from pydantic import Field, SecretStr

from worker.errors import PayloadError
from worker.payload.base import Flag, Payload, Text, member, only_docker, parse

#: Before an image's name, where cattle keeps it as a uuid.
SCHEME = "docker:"


class DockerImage(Payload):
    """An image's name, as cattle took it apart."""

    #: Registry, repository and tag: `registry.example/team/app:1.2`.
    full_name: Text | None = None
    #: The same without the tag.
    qualified_name: Text | None = None
    tag: Text | None = None
    id: Text | None = None
    namespace: Text | None = None
    repository: Text | None = None
    server: Text | None = None
    look_up_name: Text | None = None


class RegistryFields(Payload):
    """The part of a registry's fields that a pull needs."""

    server_address: Text | None = None


class RegistryData(Payload):
    """A registry's own data column."""

    fields: RegistryFields = Field(default_factory=RegistryFields)


class Registry(Payload):
    """A registry known to cattle."""

    data: RegistryData = Field(default_factory=RegistryData)


class CredentialFields(Payload):
    """The part of a credential's fields that a pull needs."""

    email: Text | None = None


class CredentialData(Payload):
    """A credential's own data column."""

    fields: CredentialFields = Field(default_factory=CredentialFields)


class RegistryCredential(Payload):
    """Who pulls; the secret never shows in a text or an error."""

    public_value: Text
    secret_value: SecretStr
    data: CredentialData = Field(default_factory=CredentialData)
    registry: Registry = Field(default_factory=Registry)

    @property
    def email(self) -> str | None:
        """The account's address, if one was given."""
        return self.data.fields.email

    @property
    def server_address(self) -> str | None:
        """The registry's address; the default registry goes by its API's name (A 12.5)."""
        address = self.registry.data.fields.server_address
        return "https://index.docker.io" if address == "https://docker.io" else address


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
    registry_credential: RegistryCredential | None = None

    @property
    def full_name(self) -> str | None:
        """The name with its tag: cattle's `fullName`, else its uuid where that is one (A 3.4)."""
        # Newer servers give an image a random uuid, which is nobody's name.
        named = self.uuid is not None and self.uuid.startswith(SCHEME)
        return self.data.docker_image.full_name or (without_scheme(self.uuid) if named else None)

    @property
    def build(self) -> Build | None:
        """How to build it; None when it is to be pulled (A 12.12)."""
        build = self.data.fields.build
        return build if build is not None and (build.context or build.remote) else None


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


def without_scheme(uuid: str | None) -> str | None:
    """Turn cattle's `docker:busybox:1` into Docker's `busybox:1`; blank is None."""
    return (uuid or "").removeprefix(SCHEME) or None


def image_of(data: object) -> Image:
    """Read the image of an `imageStoragePoolMap` event; any kind of pool will do."""
    pool_map = member(data, "imageStoragePoolMap")
    return _named(parse(Image, member(pool_map, "image"), "imageStoragePoolMap.image"))


def pull_of(data: object) -> ImagePull:
    """Read the request of `compute.instance.pull`."""
    pull = parse(ImagePull, member(data, "instancePull"), "instancePull")
    only_docker(pull.kind, "instancePull")
    _named(pull.image)
    return pull


def _named(image: Image) -> Image:
    if image.full_name is None:
        raise PayloadError(
            "the event must name an image in image.data.dockerImage.fullName or image.uuid, "
            "found neither"
        )
    return image
