"""Links to other containers: Docker's links on its bridge, and environment variables always.

New Engines no longer set the variables of links, so the worker always does. They have the same
names and overwrite the Engine's.

Row numbers (A) refer to docs/parity.md.
"""

import re

from worker.create.facts import Facts, needs_native_links
from worker.create.fragment import Fragment, given
from worker.payload import Instance, Link

_NOT_IN_A_NAME = re.compile(r"[^A-Z0-9_]")
#: Begins the value of a variable that contains the name of a link.
LINK_PREFIX = "/cattle/"
NEVER_COPIED = frozenset({"HOME", "PATH"})


def native_links(instance: Instance, facts: Facts) -> Fragment:
    """Return Docker's links, for networks without cattle's link service.

    Shape:  HostConfig.Links `container:name`, with the id of the container if it is known.
    Source: A 8.9, 8.10; links without a target are skipped.
    """
    links: list[str] = []
    for link in instance.instance_links:
        target = link.target_instance
        if link.target_instance_id is not None and target is not None and target.key is not None:
            links.append(f"{facts.container_ids.get(target.key, target.key)}:{link.link_name}")
    return Fragment(host_config=given({"Links": links if needs_native_links(instance) else []}))


def link_environment(instance: Instance) -> dict[str, str]:
    """Return the variables of the links; none for a native container.

    Source: A 8.10 to 8.14. `instanceNames` are the containers of a linked service: each gets
        variables under its own name and under the name without its first part.
    """
    variables: dict[str, str] = {}
    if instance.is_native:
        return variables
    for link in instance.instance_links:
        variables |= _variables(link, link.link_name, link.link_name.lower())
        for name in link.data.fields.instance_names:
            variables |= _variables(link, name, link.link_name)
            _environment, _, rest = name.partition("_")
            if rest:
                variables |= _variables(link, rest, link.link_name)
    return variables


def variable_name(text: str) -> str:
    """Return the name of a link as the beginning of a variable: `MY_DB` for `my-db`."""
    return _NOT_IN_A_NAME.sub("_", text.upper())


def _variables(link: Link, name: str, address: str) -> dict[str, str]:
    prefix = variable_name(name)
    variables = {f"{prefix}_NAME": f"{LINK_PREFIX}{name}"}
    for port in link.data.fields.ports:
        whole = f"{port.protocol}://{address}:{port.private_port}"
        one = variable_name(f"{name}_PORT_{port.private_port}_{port.protocol}")
        variables |= {
            f"{prefix}_PORT": whole,
            one: whole,
            f"{one}_ADDR": address,
            f"{one}_PORT": str(port.private_port),
            f"{one}_PROTO": port.protocol,
        }
    return variables | _copied(link, prefix)


def _copied(link: Link, prefix: str) -> dict[str, str]:
    """Return the target's variables, except those of the target's own links (A 8.14)."""
    lines = link.target_instance.environment if link.target_instance is not None else ()
    pairs = [(key, value) for key, sign, value in (line.partition("=") for line in lines) if sign]
    of_links = tuple(
        f"{variable_name(value.removeprefix(LINK_PREFIX))}_{part}"
        for _, value in pairs
        if value.startswith(LINK_PREFIX)
        for part in ("NAME", "PORT", "ENV")
    )
    return {
        f"{prefix}_ENV_{key}": value
        for key, value in pairs
        if key not in NEVER_COPIED and not key.startswith(of_links)
    }
