"""What a container in a managed network (kind `cni`) needs beside its network mode.

Docker gives it no network. Rancher's network services connect it after its start, by its labels. So
its entry point is wrapped in a program that waits for the network (`worker.network`). The program
is in a volume, because the image can be any.

Row numbers (B) refer to docs/parity.md.
"""

import posixpath
from dataclasses import dataclass
from typing import Any

from worker.payload import Instance

KIND = "cni"
#: The volume with the wait program, and where containers find it.
WAIT_VOLUME = "rancher-cni"
WAIT_DIR = "/.r"
WAIT_PROGRAM = f"{WAIT_DIR}/r"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageCommand:
    """The entry point and the command of an image."""

    entry_point: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


NO_COMMAND = ImageCommand()


def is_managed(instance: Instance) -> bool:
    """Return whether the network of the first NIC is a managed one."""
    return instance.primary_network.kind == KIND


def needs_image_command(instance: Instance) -> bool:
    """Return whether the image's own entry point must be known to wrap it."""
    return is_managed(instance) and not _is_given(instance.fields.entry_point)


def waits_for_network(instance: Instance, image: ImageCommand) -> bool:
    """Return whether the entry point is wrapped: the container is managed and has a command."""
    fields = instance.fields
    if _is_given(fields.entry_point):
        # `[""]` means "without the image's entry point", and without the image's command.
        has_program = fields.entry_point != ("",) or _is_given(fields.command)
    else:
        has_program = bool(image.entry_point or image.command) or _is_given(fields.command)
    return is_managed(instance) and has_program


def wrapped(
    entry_point: tuple[str, ...], command: tuple[str, ...], image: ImageCommand
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return entry point and command behind the wait program.

    Docker uses the image's command only beside the image's entry point. An entry point in the
    request replaces both, so the image's are filled in only without one (B.2).
    """
    if entry_point == ("",):
        return (WAIT_PROGRAM,), command
    if entry_point:
        return (WAIT_PROGRAM, *entry_point), command
    return (WAIT_PROGRAM, *image.entry_point), command or image.command


def is_on_wait_dir(target: str) -> bool:
    """Return whether a mount point is the folder of the wait program."""
    return posixpath.normpath(target) == WAIT_DIR


def wait_mount(volume_driver: str | None) -> dict[str, Any]:
    """Return the mount of the wait program, as keys of HostConfig.

    With a volume driver of the user, the Engine would look for a bind's volume at that driver. Only
    a mount is exempt from it.
    """
    if volume_driver in (None, "", "local"):
        return {"Binds": [f"{WAIT_VOLUME}:{WAIT_DIR}:ro"]}
    mount = {"Type": "volume", "Source": WAIT_VOLUME, "Target": WAIT_DIR, "ReadOnly": True}
    return {"Mounts": [mount]}


def _is_given(words: str | tuple[str, ...] | None) -> bool:
    return bool(words.strip() if isinstance(words, str) else words)
