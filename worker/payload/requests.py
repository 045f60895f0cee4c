"""The requests that are not about one resource: configuration items, and events handed on."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from worker.payload.base import LISTED, Payload, Text, member, parse


class ConfigItem(Payload):
    """One item of cattle's configuration for a host."""

    name: Text = Field(min_length=1)


class ConfigUpdate(Payload):
    """The items whose newest version cattle wants on the host."""

    items: Annotated[tuple[ConfigItem, ...], LISTED] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The items' names, each once, in cattle's order."""
        return tuple(dict.fromkeys(item.name for item in self.items))


class AgentInstance(Payload):
    """The container that works for cattle, as the server's row has it."""

    uuid: Text | None = None
    external_id: Text | None = None
    agent_id: Text | None = None


class InnerEvent(Payload):
    """The part of a handed on event that says which script is meant."""

    name: Text = Field(min_length=1)

    @property
    def base_name(self) -> str:
        """The name without its subscription suffix."""
        return self.name.partition(";")[0]


class Delegation(Payload):
    """An event for an agent that lives in a container, and that container."""

    instance_data: AgentInstance
    event: InnerEvent
    #: The event as it came: the script gets every key of it.
    content: Mapping[str, Any]


def config_update_of(data: object) -> ConfigUpdate:
    """Read the request of `config.update`; no items is a request for nothing (A 14.17)."""
    return parse(ConfigUpdate, data, "data")


def delegation_of(data: object) -> Delegation:
    """Read the request of `delegate.request`."""
    event = member(data, "event")
    request = {"instanceData": member(data, "instanceData"), "event": event, "content": event}
    return parse(Delegation, request, "data")
