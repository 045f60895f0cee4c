"""An event as cattle sends it, and the fields of it that a reply echoes."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from cowpoke.lengths import ID_CHARS
from cowpoke.routes import base_name

#: What cattle waits for a reply when an event does not say (`eventing.timeout.millis`).
DEFAULT_TIMEOUT_MS = 45_000
#: Half of what an entry may live in the ledger: it must not vanish before its deadline.
MOST_TIMEOUT_MS = 12 * 3_600_000


def _none_is_empty(value: object) -> object:
    return {} if value is None else value


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        # JSON can say half a surrogate pair; Redis, HTTP and UTF-8 cannot.
        raise ValueError("wanted text, found half a surrogate pair in it") from None
    return text


_Text = Annotated[str, Field(max_length=ID_CHARS), AfterValidator(_encodable)]


class Event(BaseModel):
    """One request of cattle's; unknown keys are ignored, explicit nulls mean absent.

    Source: cattle `Event.java`; older servers send every key, newer ones leave the empty out.
    """

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore"
    )

    id: str = Field(min_length=1, max_length=ID_CHARS)
    #: As received, a suffix `;agent=5` included: a reply quotes it in `previousNames`.
    name: str = Field(min_length=1, max_length=ID_CHARS)
    reply_to: _Text | None = None
    resource_type: _Text | None = None
    resource_id: _Text | None = None
    data: Annotated[Mapping[str, Any], BeforeValidator(_none_is_empty)] = Field(
        default_factory=dict
    )
    time: int | None = None
    timeout_millis: int | None = Field(default=None, ge=0)

    @property
    def base_name(self) -> str:
        """The event's name without its subscription suffix: the name of the Celery task."""
        return base_name(self.name)

    @property
    def timeout_ms(self) -> int:
        """How long cattle waits for the reply, counted by us from the time of receipt."""
        return min(self.timeout_millis or DEFAULT_TIMEOUT_MS, MOST_TIMEOUT_MS)

    @property
    def resource(self) -> str:
        """The resource for people and for logs: `instanceHostMap:1ihm50`, or `-`."""
        if self.resource_type is None or self.resource_id is None:
            return self.resource_type or "-"
        return f"{self.resource_type}:{self.resource_id}"
