"""A small image from the machine's static busybox, so that no registry is needed."""

from __future__ import annotations

import contextlib
import io
import subprocess
import tarfile
from pathlib import Path

import docker
from docker.errors import NotFound

from simulator.rig.errors import RigError
from simulator.rig.packages import can_install, find_program, install_packages

TEST_IMAGE = "cowpoke-test:latest"
WEB_ROOT = "/www"
WEB_TEXT = "hello from a container that cattle asked for\n"

SLEEP_SCRIPT = """\
#!/bin/sh
# Runs until TERM and then ends at once; as process 1 a shell without a trap would ignore it.
trap 'exit 0' TERM INT
while :; do sleep 3600 & wait $!; done
"""

WEB_SCRIPT = """\
#!/bin/sh
trap 'exit 0' TERM INT
httpd -f -p "${1:-80}" -h /www & wait $!
"""

APPLETS = (
    *("sh", "sleep", "httpd", "wget", "cat", "ls", "env", "echo", "true", "false", "id", "ps"),
    *("kill", "touch", "hostname", "ip", "mkdir", "rm", "grep", "head", "nc", "test", "date"),
)


class BusyboxMissingError(RigError):
    """No static busybox is available on this machine."""


def find_static_busybox() -> Path:
    """Find a statically linked busybox, installing Debian's busybox-static as root if need be.

    Errors:
        BusyboxMissingError: there is none, and this process cannot install it.
    """
    found = _static_busybox()
    if found is None and can_install():
        install_packages("busybox-static")
        found = _static_busybox()
    if found is None:
        raise BusyboxMissingError(
            "no statically linked busybox on PATH: the test image is made of one; install it"
            " (Debian and Ubuntu: the package busybox-static)"
        )
    return found


def build_image(client: docker.APIClient, *names: str) -> str:
    """Build the small image under each of the names (`repository:tag`) and return its id.

    It runs `/sleep.sh` until TERM; `/web.sh [PORT]` serves `/www`; busybox is the rest.
    """
    names = names or (TEST_IMAGE,)
    stream = client.build(
        fileobj=_build_context(), custom_context=True, tag=names[0], rm=True, decode=True
    )
    for message in stream:
        if "error" in message:
            raise RuntimeError(f"the Engine could not build {names[0]}: {message['error']}")
    image_id = str(client.inspect_image(names[0])["Id"])  # type: ignore[no-untyped-call]
    for name in names[1:]:
        repository, _, tag = name.rpartition(":")
        client.tag(image_id, repository, tag)
    return image_id


def remove_image(client: docker.APIClient, *names: str) -> None:
    """Remove all names of the image, and so the image."""
    for name in names or (TEST_IMAGE,):
        with contextlib.suppress(NotFound):
            client.remove_image(name, force=True)


def _static_busybox() -> Path | None:
    program = find_program("busybox")
    if program is None:
        return None
    # A dynamic program names its loader in a PT_INTERP segment; `ldd` may be missing, this is not.
    content = Path(program).read_bytes()
    return (
        None if b"/ld-linux" in content[:4096] or b"/ld-musl" in content[:4096] else Path(program)
    )


def _build_context() -> io.BytesIO:
    busybox = find_static_busybox()
    wanted = set(_applets(busybox))
    root = io.BytesIO()
    with tarfile.open(fileobj=root, mode="w") as tar:
        for folder in ("bin", "etc", "tmp", "proc", "sys", "dev", "www"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        _add(tar, "bin/busybox", busybox.read_bytes(), 0o755)
        for applet in APPLETS:
            if applet in wanted:
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        _add(tar, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
        _add(tar, "etc/group", b"root:x:0:\nnogroup:x:65534:\n")
        _add(tar, "www/index.html", WEB_TEXT.encode())
        _add(tar, "sleep.sh", SLEEP_SCRIPT.encode(), 0o755)
        _add(tar, "web.sh", WEB_SCRIPT.encode(), 0o755)
    context = io.BytesIO()
    dockerfile = 'FROM scratch\nADD root.tar /\nENV PATH=/bin\nCMD ["/sleep.sh"]\n'
    with tarfile.open(fileobj=context, mode="w") as tar:
        _add(tar, "Dockerfile", dockerfile.encode())
        _add(tar, "root.tar", root.getvalue())
    context.seek(0)
    return context


def _applets(busybox: Path) -> list[str]:
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    return listed.stdout.split()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))
