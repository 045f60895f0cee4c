"""Install missing Debian packages, as root on Debian or Ubuntu."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from simulator.rig.errors import RigError

LOCK_WAIT_S = 300
APT_TIMEOUT_S = 900


class PackageInstallError(RigError):
    """apt could not install a required package."""


def can_install() -> bool:
    """Return whether this process can install Debian packages."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install_packages(*names: str) -> None:
    """Install Debian packages; wait for another running apt.

    Errors:
        PackageInstallError: with apt's last lines.
    """
    lock_wait = ("-o", f"DPkg::Lock::Timeout={LOCK_WAIT_S}")
    install = ("apt-get", *lock_wait, "install", "-y", "--no-install-recommends", *names)
    if _run(*install).returncode == 0:
        return
    _run("apt-get", *lock_wait, "update")  # an old or empty list is the usual reason
    tried = _run(*install)
    if tried.returncode != 0:
        last_lines = "\n".join(tried.stdout.splitlines()[-8:])
        raise PackageInstallError(f"apt-get could not install {' '.join(names)}:\n{last_lines}")


def find_program(name: str) -> str | None:
    """Find a program on PATH or in the system folders that a user's PATH often lacks."""
    found = shutil.which(name)
    if found:
        return found
    for folder in ("/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin"):
        if os.access(Path(folder, name), os.X_OK):
            return str(Path(folder, name))
    return None


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)  # noqa: TID251 -- apt's proxy and mirror settings live there
    environment["DEBIAN_FRONTEND"] = "noninteractive"
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=APT_TIMEOUT_S,
        check=False,
    )
