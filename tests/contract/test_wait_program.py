"""The wait programs in the repository are what their source gives.

Row numbers (B) refer to docs/parity.md.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from worker.engine.archives import File
from worker.network import wait_volume
from worker.network.wait_volume import runs

FOLDER = wait_volume._PROGRAMS_DIR
SCRIPT = FOLDER.parents[2] / "scripts" / "wait-program"
#: The version that made them.
GCC = "12.2.0"
COMPILERS = {"x86_64": "x86_64-linux-gnu-gcc", "aarch64": "aarch64-linux-gnu-gcc"}


@pytest.mark.parametrize("machine", COMPILERS)
def test_program_is_built_from_the_source(machine, tmp_path):
    """B.2: nobody has to trust a binary: the same compiler gives the same bytes."""
    compiler = COMPILERS[machine]
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler} here")
    asked = subprocess.run(
        [compiler, "-dumpfullversion"], capture_output=True, text=True, check=True
    )
    if asked.stdout.strip() != GCC:
        pytest.skip(f"{compiler} is {asked.stdout.strip()}, the programs were made by {GCC}")
    subprocess.run([SCRIPT, tmp_path, compiler], check=True)
    made = (tmp_path / f"wait-{machine}").read_bytes()
    assert made == (FOLDER / f"wait-{machine}").read_bytes(), "run scripts/wait-program"


@pytest.mark.parametrize("machine", COMPILERS)
def test_program_is_static_and_ours(machine):
    """B.2: it runs in an image without any file, and the worker recognizes it."""
    content = (FOLDER / f"wait-{machine}").read_bytes()
    assert len(content) < 8 * 1024
    assert wait_volume._OURS in content
    other = next(one for one in COMPILERS if one != machine)
    assert runs(File("r", content, 0o555, len(content)), machine)
    assert not runs(File("r", content, 0o555, len(content)), other)
    assert not runs(File("r", content, 0o644, len(content)), machine)


def test_program_with_an_interpreter_does_not_run_everywhere():
    """B.2: the dynamic loader is a file of the image."""
    program = shutil.which("bash") or "/bin/sh"
    with Path(program).open("rb") as file:
        content = file.read(64 * 1024)
    machine = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True)
    assert not runs(File("r", content, 0o755, len(content)), machine.stdout.strip())
