"""Requests without a resource: configuration items and delegated events.

Row numbers (A) refer to docs/parity.md.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from worker.payload.base import LISTED, Payload, Text, member, parse


class ConfigItem(Payload):
    """One item of cattle's configuration for a host."""

    name: Text = Field(min_length=1)


class ConfigUpdate(Payload):
    """The items that the host has to update."""

    items: Annotated[tuple[ConfigItem, ...], LISTED] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the items in cattle's order, without duplicates."""
        return tuple(dict.fromkeys(item.name for item in self.items))


class AgentInstance(Payload):
    """The container of an agent, as cattle stores it."""

    uuid: Text | None = None
    external_id: Text | None = None
    agent_id: Text | None = None


class InnerEvent(Payload):
    """The part of a delegated event that names its script."""

    name: Text = Field(min_length=1)

    @property
    def base_name(self) -> str:
        """The name without its subscription suffix."""
        return self.name.partition(";")[0]


class Delegation(Payload):
    """An event for an agent in a container, and that container."""

    instance_data: AgentInstance
    event: InnerEvent
    #: The whole event, which the script gets.
    content: Mapping[str, Any]


def config_update_of(data: object) -> ConfigUpdate:
    """Parse the request of `config.update`; without items it requests nothing (A 14.17)."""
    return parse(ConfigUpdate, data, "data")


def delegation_of(data: object) -> Delegation:
    """Parse the request of `delegate.request`."""
    event = member(data, "event")
    request = {"instanceData": member(data, "instanceData"), "event": event, "content": event}
    return parse(Delegation, request, "data")
