"""The names of the container in Docker.

Row numbers (A) refer to docs/parity.md.
"""

import re

from worker.payload import Instance

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


def container_names(instance: Instance) -> tuple[str, ...]:
    """Return the names to try in order: `r-NAME`, `r-NAME-UUIDPART`, then the uuid.

    Source: A 3.5. The other names are used if another container has the first one: during the
    upgrade of a service, the old container keeps `r-NAME`. UUIDPART is the first part of the uuid.
    Names that Docker would refuse are left out.
    """
    if not _NAME.fullmatch(instance.name or ""):
        return (instance.uuid,)
    name = f"r-{instance.name}"
    with_part = f"{name}-{instance.uuid.partition('-')[0]}"
    return (*(one for one in (name, with_part) if _NAME.fullmatch(one)), instance.uuid)
