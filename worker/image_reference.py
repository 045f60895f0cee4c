"""References to images: registry, repository, tag and digest, read and compared in one place.

The Engine stores Docker Hub's images under short names (`nginx:1.25`), so `repository` and
`reference` leave Docker Hub's own names out. Every other registry is part of both.

Row numbers (A) refer to docs/parity.md.
"""

import re
from dataclasses import dataclass, replace

from worker.errors import PayloadError

#: Docker Hub, under the name that the Engine uses for it.
DOCKER_HUB = "docker.io"
#: Names under which servers and users write Docker Hub.
_HUB_NAMES = frozenset(
    {
        "docker.io",
        "hub.docker.com",
        "index.docker.io",
        "registry-1.docker.io",
        "registry.docker.io",
        "registry.hub.docker.com",
    }
)
#: The address under which the Engine looks for Docker Hub's credential.
_HUB_ADDRESS = "https://index.docker.io/v1/"
_HTTPS_PORT = ":443"
_OFFICIAL = "library/"
_SCHEME = "docker:"
_DEFAULT_TAG = "latest"

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_MOST_CHARACTERS = 255
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_ID = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_SHOWN_CHARACTERS = 200
#: What precedes an @ that no digest follows: it may be a password.
_USER_INFO = re.compile(r"[^/]*@(?![A-Za-z0-9+._-]+:[0-9a-fA-F]+$)")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image's name in its parts.

    Shape: `registry` is None when the text names no registry, which means Docker Hub unless another
    source names one. `path` is the repository without the registry; it is empty for an image that
    is named by its id, and `digest` holds the id then. `tag` and `digest` are None when not named.
    """

    registry: str | None
    path: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ImageReference":
        """Read `[docker:][registry/]repository[:tag][@digest]`, or an image id.

        The tag is `latest` when neither a tag nor a digest is named (A 12.2).
        Errors: PayloadError for a text that the Engine could not resolve.
        """
        return cls.partial(text).complete()

    @classmethod
    def partial(cls, text: str) -> "ImageReference":
        """Read a reference as `parse` does, without the default tag."""
        named = text.strip().removeprefix(_SCHEME)
        name, at, digest = named.partition("@")
        head, colon, tag = name.rpartition(":")
        if not colon or "/" in tag:
            head, tag = name, ""
        first, slash, rest = head.partition("/")
        registry = _registry_name(first) if slash and _is_registry(first) else None
        path = rest if registry else head
        if registry in (None, DOCKER_HUB) and (found := _ID.fullmatch(_rest(named, registry))):
            return cls(registry, "", digest=f"sha256:{found[1]}")
        if at and not _DIGEST.fullmatch(digest):
            raise PayloadError(f"cannot read the digest of image {shown(text)}")
        if len(head) > _MOST_CHARACTERS or not _REPOSITORY.fullmatch(path):
            raise PayloadError(
                f"cannot read the image name {shown(text)}; a valid name is like redis:7 or "
                "registry.example:5000/team/app:1.2, in lower case"
            )
        if colon and tag and not _TAG.fullmatch(tag):
            raise PayloadError(f"cannot read the tag of image {shown(text)}")
        return cls(registry, _short(path, registry), tag or None, digest.lower() or None)

    @property
    def is_id(self) -> bool:
        """Whether the image is named by its id, which no registry resolves."""
        return not self.path

    @property
    def repository(self) -> str:
        """The registry and the repository as the Engine stores them; Docker Hub's are short."""
        if self.registry is None or self.registry == DOCKER_HUB:
            return _short(self.path, DOCKER_HUB)
        return f"{self.registry}/{self.path}"

    @property
    def reference(self) -> str:
        """The name as the Engine resolves it; a digest decides, a tag beside it is ignored."""
        if self.digest:
            return self.digest if self.is_id else f"{self.repository}@{self.digest}"
        return f"{self.repository}:{self.tag or _DEFAULT_TAG}"

    @property
    def server_address(self) -> str:
        """The registry as the Engine's credentials name it."""
        return _HUB_ADDRESS if self.registry in (None, DOCKER_HUB) else str(self.registry)

    def complete(self) -> "ImageReference":
        """Return the reference with the default tag where it has neither a tag nor a digest."""
        return self if self.tag or self.digest else replace(self, tag=_DEFAULT_TAG)

    def at(self, registry: str | None) -> "ImageReference":
        """Return the reference in this registry, unless it names a registry itself."""
        if self.registry is not None or registry is None:
            return self
        return replace(self, registry=registry, path=_short(self.path, registry))

    def merged(self, other: "ImageReference") -> "ImageReference | None":
        """Return what both references say together, or None when they contradict each other.

        A reference without a registry, or without tag and digest, agrees with one that names them.
        """
        one, two = self.at(other.registry), other.at(self.registry)
        if (one.registry, one.hub_path) != (two.registry, two.hub_path):
            return None
        if _differ(one.tag, two.tag) or _differ(one.digest, two.digest):
            return None
        both_say = one.names_version and two.names_version
        if both_say and bool(one.digest) != bool(two.digest) and one.tag != two.tag:
            # A digest without this tag may be that of another image.
            return None
        return replace(one, tag=one.tag or two.tag, digest=one.digest or two.digest)

    @property
    def names_version(self) -> bool:
        """Whether a tag or a digest is named."""
        return bool(self.tag or self.digest)

    @property
    def hub_path(self) -> str:
        """The path as it would be stored if an image without a registry were Docker Hub's."""
        return _short(self.path, self.registry or DOCKER_HUB)

    def __str__(self) -> str:
        return self.reference


@dataclass(frozen=True, slots=True)
class Server:
    """A registry's address as a server sends it: `host[:port]`, and what precedes repositories."""

    registry: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> "Server":
        """Read `[scheme://]host[:port][/path]`; the paths of the registry's API are left out.

        Errors: PayloadError for an address that cannot be part of an image's name.
        """
        address = re.sub(r"^https?://", "", text.strip(), flags=re.IGNORECASE)
        host, _, path = address.partition("/")
        prefix = path.strip("/")
        if prefix in {"v1", "v2"}:
            prefix = ""
        registry = _registry_name(host)
        if not _is_registry(registry) or (prefix and not _REPOSITORY.fullmatch(prefix)):
            raise PayloadError(
                f"cannot use the registry address {shown(text)}; a valid address is like "
                "registry.example or 127.0.0.1:5000"
            )
        return cls(registry, prefix)

    def join(self, name: ImageReference) -> ImageReference:
        """Return the image of this name, which names no registry, on this server."""
        if name.is_id:
            # Servers take `sha256:<id>` for a repository and a tag; elsewhere it may be one.
            is_hub = self.registry == DOCKER_HUB
            return name if is_hub else self.holding(str(name.digest))
        path = f"{self.prefix}/{name.path}" if self.prefix else name.path
        return replace(name, registry=self.registry, path=_short(path, self.registry))

    def holding(self, name: str) -> ImageReference:
        """Return the image whose whole name, whatever it begins like, is a name on this server.

        Errors: PayloadError when it cannot be one.
        """
        prefix = f"{self.prefix}/" if self.prefix else ""
        return ImageReference.partial(f"{self.registry}/{prefix}{name}")


def shown(text: str) -> str:
    """Quote a name that cattle sent, without a user name or password in it."""
    return repr(_USER_INFO.sub("***@", text.strip())[:_SHOWN_CHARACTERS])


def _is_registry(component: str) -> bool:
    """Whether a name's first component is a registry, by the rule of Docker and of cattle."""
    lower = component.lower()
    is_host = "." in lower or ":" in lower or lower == "localhost"
    return is_host and _REGISTRY.fullmatch(lower) is not None


def _registry_name(text: str) -> str:
    lower = text.lower()
    return DOCKER_HUB if lower.removesuffix(_HTTPS_PORT) in _HUB_NAMES else lower


def _rest(named: str, registry: str | None) -> str:
    return named if registry is None else named.partition("/")[2]


def _short(path: str, registry: str | None) -> str:
    """Leave `library/` of Docker Hub's official images out, as the Engine does."""
    is_official = path.startswith(_OFFICIAL) and path.count("/") == 1
    return path.removeprefix(_OFFICIAL) if registry == DOCKER_HUB and is_official else path


def _differ(one: str | None, two: str | None) -> bool:
    """Whether both are named and are not the same."""
    return bool(one and two) and one != two
