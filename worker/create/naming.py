"""What the container is called in Docker."""

import re

from worker.payload import Instance

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


def container_names(instance: Instance) -> tuple[str, ...]:
    """The names to try in order: cattle's own as `r-NAME` where Docker takes it, then the uuid.

    The uuid is for the case that another container has the first name already (A 3.5).
    """
    if instance.name and _NAME.fullmatch(instance.name):
        return (f"r-{instance.name}", instance.uuid)
    return (instance.uuid,)
