"""Build a base image with debootstrap, for machines without access to a registry.

It contains this machine's Debian or Ubuntu release with Python, venv and redis-server. It is the
base of our image and also the image of Redis. The folder is kept in the user's cache. The machine's
certificates and pip settings are copied, so that a build can install packages.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import docker
from docker.errors import NotFound

from simulator.rig.errors import RigError
from simulator.rig.packages import can_install, find_program, install_packages

BASE_IMAGE = "cowpoke-test-base:latest"
PACKAGES = "python3,python3-venv,ca-certificates,redis-server"
BUILD_TIMEOUT_S = 900
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PIP_SETTINGS = Path("/etc/pip.conf")


WASTE = (
    *("./var/cache/apt/", "./var/lib/apt/lists/", "./usr/share/doc/", "./usr/share/man/"),
    *("./dev/", "./proc/", "./sys/"),
)


class BaseImageError(RigError):
    """The base image cannot be built on this machine."""


def make_base_image(client: docker.APIClient, name: str = BASE_IMAGE) -> str:
    """Load the base image into an Engine, from the cache if possible.

    Errors:
        BaseImageError: not root on Debian or Ubuntu, or debootstrap failed, with its last lines.
    """
    archive = _archive()
    repository, _, tag = name.rpartition(":")
    client.import_image(src=str(archive), repository=repository, tag=tag)
    return name


def remove_base_image(client: docker.APIClient, name: str = BASE_IMAGE) -> None:
    """Remove the image from the Engine; keep the cache."""
    with contextlib.suppress(NotFound):
        client.remove_image(name, force=True)


def _archive() -> Path:
    if not can_install():
        raise BaseImageError("a base image is made with debootstrap: as root, on Debian or Ubuntu")
    release = _release()
    cache = Path.home() / ".cache" / "cowpoke"
    archive = cache / f"base-{release['ID']}-{release['VERSION_CODENAME']}.tar"
    if archive.exists():
        return archive
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cowpoke-base-") as folder:
        root = Path(folder, "root")
        _debootstrap(root, release)
        _add_machine_settings(root)
        # Renamed into place when complete: a cut run leaves no half archive.
        partial = Path(folder, "root.tar")
        with tarfile.open(partial, "w") as tar:
            tar.add(root, ".", filter=_without_waste)
        shutil.move(partial, archive.with_suffix(f".{os.getpid()}"))
        archive.with_suffix(f".{os.getpid()}").rename(archive)
    return archive


def _debootstrap(root: Path, release: dict[str, str]) -> None:
    if find_program("debootstrap") is None:
        install_packages("debootstrap")
    components = "main,universe" if release["ID"] == "ubuntu" else "main"
    command = [
        find_program("debootstrap") or "debootstrap",
        "--variant=minbase",
        f"--include={PACKAGES}",
        f"--components={components}",
        release["VERSION_CODENAME"],
        str(root),
        _mirror(release["VERSION_CODENAME"]),
    ]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        last_lines = "\n".join(done.stdout.splitlines()[-8:])
        raise BaseImageError(f"debootstrap failed:\n{last_lines}")


def _add_machine_settings(root: Path) -> None:
    given = os.environ.get("PIP_CERT")  # noqa: TID251 -- what pip on this machine trusts
    certificates = Path(given) if given else CERTIFICATES
    if certificates.is_file():
        shutil.copy(certificates, root / CERTIFICATES.relative_to("/"))
    settings = PIP_SETTINGS.read_text(encoding="utf-8") if PIP_SETTINGS.exists() else "[global]\n"
    if not re.search(r"(?m)^\s*cert\s*=", settings):
        settings = settings.replace("[global]", f"[global]\ncert = {CERTIFICATES}", 1)
    (root / "etc/pip.conf").write_text(settings, encoding="utf-8")


def _without_waste(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if entry.name.startswith(WASTE) else entry


def _release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {name: value.strip('"') for name, value in pairs}


def _mirror(codename: str) -> str:
    """Return this machine's apt mirror of a release."""
    wanted = "$(RELEASE) $(COMPONENT) $(REPO_URI)"
    command = ["/usr/bin/apt-get", "indextargets", "--format", wanted, "Created-By: Packages"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    for line in listed.splitlines():
        release, component, uri = line.split(" ", 2)
        if (release, component) == (codename, "main"):
            return uri
    raise BaseImageError(f"apt knows no mirror of {codename} main (apt-get indextargets)")
