"""All rules, and the function that makes the create body from them.

Row numbers (A, B) refer to docs/parity.md.
"""

from collections.abc import Sequence
from typing import Any

from worker.create.capabilities import capabilities
from worker.create.command import attachment, command, health_check, restart_policy
from worker.create.devices import device_limits, devices, ulimits
from worker.create.environment import environment
from worker.create.facts import Facts
from worker.create.fields import plain_fields, reservations, working_dir
from worker.create.fragment import Rule, merge
from worker.create.labels import labels
from worker.create.links import native_links
from worker.create.logging_driver import log_driver
from worker.create.network import dns_search, ipc_mode, network
from worker.create.ports import ports
from worker.create.volumes import volumes
from worker.errors import PayloadError
from worker.payload import Instance

#: Every rule, in any order.
RULES: tuple[Rule, ...] = (
    plain_fields,
    working_dir,
    reservations,
    capabilities,
    command,
    attachment,
    health_check,
    restart_policy,
    environment,
    labels,
    network,
    native_links,
    dns_search,
    ipc_mode,
    ports,
    volumes,
    devices,
    device_limits,
    ulimits,
    log_driver,
)


def create_body(
    instance: Instance, facts: Facts, *, rules: Sequence[Rule] = RULES
) -> dict[str, Any]:
    """Return the Engine's JSON for `POST /containers/create`, without the name of the container.

    Errors: `PayloadError` for a field that has no equivalent in Docker.
    Source: A.3 to A.9, B.1, B.2.
    """
    image = instance.image_reference
    if image is None:
        raise PayloadError(
            "Can not start container with no image: neither image.data.dockerImage.fullName "
            "nor data.fields.imageUuid names one"
        )
    fragments = [rule(instance, facts) for rule in rules]
    config = merge((fragment.config for fragment in fragments), "")
    host_config = merge((fragment.host_config for fragment in fragments), "HostConfig.")
    return merge(({"Image": image.reference, "HostConfig": host_config}, config), "")
