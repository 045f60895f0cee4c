"""The way from a wire payload to the create body, as the tests of the rules walk it."""

from typing import Any

from tests.factories import instance_data
from worker.create import Facts, create_body
from worker.payload import instance_of


def body(
    fields: dict[str, Any] | None = None, *, facts: Facts | None = None, **changes: Any
) -> dict[str, Any]:
    """The create body of the smallest instance with these fields and changes."""
    return create_body(instance_of(instance_data(fields, **changes)), facts or Facts())


def host_config(
    fields: dict[str, Any] | None = None, *, facts: Facts | None = None, **changes: Any
) -> dict[str, Any]:
    """The same, `HostConfig` only."""
    return body(fields, facts=facts, **changes)["HostConfig"]
