"""One view of a container, whichever way the Engine described it: inspect or list entry.

Nothing is indexed. The Engine leaves empty fields out since API 1.52, and a container that is half
removed may lack any field. Row numbers (A, B, C, W) refer to docs/parity.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.errors import ContainerUnreadableError

#: The label with the uuid of cattle's instance; a label of the user never overwrites it.
UUID_LABEL = "io.rancher.container.uuid"

Inspect = dict[str, Any]

_RUNNING_STATES = frozenset({"running", "paused", "restarting"})
_REMOVAL_STATES = frozenset({"removing", "dead"})
_NEVER_RAN = "created"
#: Begins the uuid of a container without label and name.
NO_UUID = "no-uuid-"

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,6})?\d*(Z|[+-]\d\d:\d\d)")
_NEVER_YEAR = 1  # the Engine's zero time is 0001-01-01


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """A container as the Engine describes it: its inspect, its list entry, or both.

    The Engine cannot inspect a container whose layer is damaged, but can still stop and remove it.
    Such a container has a list entry only, and `problem` is the Engine's refusal of the inspect.
    """

    inspect: Inspect | None = None
    listing: Mapping[str, Any] | None = None
    problem: ContainerUnreadableError | None = None

    @property
    def id(self) -> str:
        """The full Docker id; empty when neither description has one."""
        return str(mapping(self.inspect).get("Id") or mapping(self.listing).get("Id") or "")

    @property
    def short_id(self) -> str:
        """The first 12 characters of the id, for people."""
        return self.id[:12]

    @property
    def names(self) -> tuple[str, ...]:
        """All names without their leading slash; `other/alias` is a link's alias in a list."""
        if self.inspect is not None:
            found = [self.inspect.get("Name")]
        else:
            found = list(mapping(self.listing).get("Names") or ())
        return tuple(str(name).removeprefix("/") for name in found if name)

    @property
    def name(self) -> str:
        """The container's own name without its leading slash; empty when it has none."""
        if self.inspect is not None:
            return next(iter(self.names), "")
        return next((name for name in self.names if "/" not in name), "")

    @property
    def uuid(self) -> str:
        """The uuid by which cattle knows it: the label, else the name, else `no-uuid-<id>`.

        Source: A 2.6, 2.7, 2.10.
        """
        return str(self.labels.get(UUID_LABEL) or self.name or f"{NO_UUID}{self.id}")

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels; empty when there are none."""
        return member(self.config if self.inspect is not None else self.listing, "Labels")

    @property
    def image(self) -> Any:  # noqa: ANN401 - the Engine's JSON
        """The image as the container was created with it; its id where only that is known."""
        if self.inspect is not None:
            return self.config.get("Image") or self.inspect.get("Image")
        return mapping(self.listing).get("Image")

    @property
    def created_s(self) -> int | None:
        """The time of creation (Unix time in s); None when it is not known."""
        if self.inspect is not None:
            created = engine_time(self.inspect.get("Created"))
            return None if created is None else int(created.timestamp())
        listed = mapping(self.listing).get("Created")
        return listed if isinstance(listed, int) else None

    @property
    def is_running(self) -> bool:
        """Whether it runs; paused and restarting containers count as running (A 2.15, 14.16)."""
        if self.inspect is not None:
            return bool(self.state.get("Running"))
        return self._listed_state in _RUNNING_STATES

    @property
    def has_never_run(self) -> bool:
        """Whether no process of it was ever started."""
        status = self.state.get("Status") if self.inspect is not None else self._listed_state
        return status == _NEVER_RAN

    @property
    def is_being_removed(self) -> bool:
        """Whether the Engine is removing it, or failed to remove it."""
        if self.inspect is None:
            return self._listed_state in _REMOVAL_STATES
        return self.state.get("Status") in _REMOVAL_STATES or bool(self.state.get("Dead"))

    @property
    def state(self) -> Mapping[str, Any]:
        """`State` of the inspect; empty without one."""
        return member(self.inspect, "State")

    @property
    def config(self) -> Mapping[str, Any]:
        """`Config` of the inspect; empty without one."""
        return member(self.inspect, "Config")

    @property
    def host_config(self) -> Mapping[str, Any]:
        """`HostConfig` of the inspect; empty without one."""
        return member(self.inspect, "HostConfig")

    @property
    def network_settings(self) -> Mapping[str, Any]:
        """`NetworkSettings` of the inspect; empty without one."""
        return member(self.inspect, "NetworkSettings")

    @property
    def networks(self) -> Mapping[str, Any]:
        """The endpoints of the inspect by the names of their networks."""
        return member(self.network_settings, "Networks")

    @property
    def mounts(self) -> Any:  # noqa: ANN401 - the Engine's JSON
        """`Mounts` of the inspect; None when it has none."""
        return mapping(self.inspect).get("Mounts")

    @property
    def volumes_from(self) -> tuple[str, ...]:
        """Ids or names of the containers whose volumes it shares."""
        return tuple(
            str(one).partition(":")[0] for one in self.host_config.get("VolumesFrom") or ()
        )

    @property
    def _listed_state(self) -> object:
        return mapping(self.listing).get("State")


def mapping(value: object) -> Mapping[str, Any]:
    """Return the value if it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def member(value: object, key: str) -> Mapping[str, Any]:
    """Return the JSON object at a key of an object; empty when there is none."""
    return mapping(mapping(value).get(key))


def engine_time(text: object) -> datetime | None:
    """Read a time of the Engine, which has nanoseconds; None for its zero time and other text."""
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    whole, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{whole}{fraction or ''}{zone}")
    except ValueError:
        return None
    return None if moment.year == _NEVER_YEAR else moment
