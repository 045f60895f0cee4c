"""Wishes that the Engine accepts and does not fulfill."""

from worker.create.facts import SIZE_LIMIT, Facts
from worker.create.fields import GONE
from worker.payload import Instance


def create_warnings(instance: Instance, facts: Facts) -> tuple[str, ...]:
    """Return one sentence for each wish that the new container will not have, for the reply.

    Source: A 4.19, B.1. Names of fields are shown, and no values but sizes.
    """
    gone = [
        f"{name} is ignored: Docker no longer has it"
        for name in instance.fields.unread
        if name in GONE
    ]
    return (*gone, *_size(instance, facts))


def _size(instance: Instance, facts: Facts) -> tuple[str, ...]:
    size = instance.fields.storage_opt.get(SIZE_LIMIT)
    if size is None or not facts.has_containerd_store:
        return ()
    warning = (
        f"storageOpt.{SIZE_LIMIT} {size} is not enforced: this host's Docker keeps images in "
        "containerd's store, which limits no container's size"
    )
    return (warning,)
