"""The Engine of another Debian release, unpacked into a folder by `scripts/engine`.

Row numbers (W) refer to docs/parity.md.
"""

import os
import subprocess

import pytest

from simulator.rig.packages import can_install, find_program, install_packages
from simulator.rig.private_engine import PrivateEngine
from simulator.rig.processes import PROJECT_DIR

SUITE = "trixie"
OPTION = "--label=made=here"


def make_engine(folder):
    """Run the script; what it printed."""
    command = [PROJECT_DIR / "scripts/engine", SUITE, folder, OPTION]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.timeout(400)
def test_an_engine_of_another_release_runs_here(missing_part, tmp_path, monkeypatch):
    """W 10: with its own C library, and with the options that it was made for."""
    if not can_install():
        missing_part("scripts/engine needs root on Debian or Ubuntu")
    if find_program("patchelf") is None:
        install_packages("patchelf")
    folder = tmp_path / "engine"
    assert "Docker version" in make_engine(folder)
    assert make_engine(folder) == "", "a complete folder was made again"
    monkeypatch.setenv("PATH", f"{folder}/bin", prepend=os.pathsep)
    with PrivateEngine().start() as engine:
        client = engine.client()
        try:
            assert client.version()["Version"].startswith("26.")
            assert client.info()["Labels"] == ["made=here"]
        finally:
            client.close()
