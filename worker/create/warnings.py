"""Warnings about fields that the Engine accepts and does not apply.

Row numbers (A, B) refer to docs/parity.md.
"""

from worker.create.facts import SIZE_LIMIT, Facts
from worker.create.fields import GONE
from worker.create.managed_network import WAIT_DIR, is_on_wait_dir, waits_for_network
from worker.payload import Instance

_SHOWN_CHARACTERS = 40


def create_warnings(instance: Instance, facts: Facts) -> tuple[str, ...]:
    """Return one sentence for each field that the Engine does not apply to the new container.

    The sentences are part of the reply. They contain names of fields and no values except sizes.
    Source: A 4.19, B.1, B.2.
    """
    gone = [
        f"{name} is ignored: Docker no longer supports it"
        for name in instance.fields.unread
        if name in GONE
    ]
    return (*gone, *_size(instance, facts), *_mounts(instance, facts))


def _size(instance: Instance, facts: Facts) -> tuple[str, ...]:
    size = instance.fields.storage_opt.get(SIZE_LIMIT)
    if size is None or not facts.has_containerd_store:
        return ()
    shown = f"storageOpt.{SIZE_LIMIT} {size[:_SHOWN_CHARACTERS]}"
    reason = "Docker on this host uses containerd's image store, which cannot limit the size"
    return (f"{shown} is not enforced: {reason}",)


def _mounts(instance: Instance, facts: Facts) -> tuple[str, ...]:
    if not waits_for_network(instance, facts.image_command):
        return ()
    targets = [text.split(":")[:2][-1] for text in instance.fields.data_volumes]
    if not any(map(is_on_wait_dir, targets)):
        return ()
    return (
        f"the volume on {WAIT_DIR} is ignored: the program that waits for the network is there",
    )
