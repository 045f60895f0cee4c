"""The units in `deploy/systemd`: what systemd itself says of them, and what the programs need."""

import re
import subprocess
from pathlib import Path

import pytest

from simulator.rig.packages import find_program
from worker.settings import WorkerSettings

UNITS_DIR = Path(__file__).parents[2] / "deploy" / "systemd"
INSTALLED = "/opt/cowpoke/bin/cowpoke"
#: Unit -> the most exposed it may be, as `systemd-analyze security` counts from 0 to 10.
EXPOSURES = {
    "cowpoke-bridge.service": 1.3,
    "cowpoke-flower.service": 1.3,
    "cowpoke-worker.service": 6.0,
}


@pytest.fixture
def analyze(missing_part, tmp_path):
    """Run systemd-analyze on a unit, with a program that exists; its exit code and output."""
    program = find_program("systemd-analyze")
    if program is None:
        missing_part("systemd-analyze is missing: install systemd")

    def run(name, *arguments):
        text = (UNITS_DIR / name).read_text(encoding="utf-8")
        assert text.count(INSTALLED) == 1
        unit = tmp_path / name
        unit.write_text(text.replace(INSTALLED, "/bin/true"), encoding="utf-8")
        command = [program, *arguments, str(unit)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def values(name: str, setting: str) -> list[str]:
    """The words of all lines of a setting."""
    text = (UNITS_DIR / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(rf"(?m)^{setting}=(.*)$", text)
    return [word for line in lines for word in line.split()]


def test_every_unit_is_looked_at():
    """A new one needs a limit too."""
    assert {path.name for path in UNITS_DIR.iterdir()} == set(EXPOSURES)


@pytest.mark.parametrize("name", EXPOSURES)
def test_systemd_accepts_the_unit(analyze, name):
    """It ignores what it does not know, and says so."""
    assert analyze(name, "verify", "--man=no") == (0, "")


@pytest.mark.parametrize("name", EXPOSURES)
def test_the_unit_is_hardened(analyze, name):
    """Bridge and Flower may do next to nothing; a worker is root on its host."""
    threshold = str(round(10 * EXPOSURES[name]))
    code, said = analyze(
        name, "security", "--offline=true", "--no-pager", f"--threshold={threshold}"
    )
    assert code == 0, said


def test_the_worker_has_the_rights_of_the_one_in_compose():
    """Parity B.6: the same as its container, which has no more than it uses."""
    compose = (UNITS_DIR.parents[1] / "docker-compose.yml").read_text(encoding="utf-8")
    added = set(re.findall(r"(?m)^      - (SYS_[A-Z]+)$", compose))
    assert added
    found = {one.removeprefix("CAP_") for one in values(WORKER, "CapabilityBoundingSet")}
    # What Docker gives to every container, and a worker uses.
    assert found - added == {
        *("SYS_CHROOT", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETUID", "SETGID")
    }
    assert added <= found


WORKER = "cowpoke-worker.service"


def test_the_worker_may_write_its_folders():
    """With ProtectSystem=strict everything else is read-only."""
    variables = dict(one.split("=", 1) for one in values(WORKER, "Environment"))
    given = {name: text for name, text in variables.items() if name.startswith("CATTLE_")}
    settings = WorkerSettings(**given)
    writable = [Path(one.removeprefix("-")) for one in values(WORKER, "ReadWritePaths")]
    writable += [Path("/var/lib", one) for one in values(WORKER, "StateDirectory")]
    writable += [Path("/var/run", one) for one in values(WORKER, "RuntimeDirectory")]
    needed = (
        *(settings.state_dir, settings.build_dir, settings.host_key_file, settings.lock_dir),
        *(settings.storage_dir, settings.network_state_dir),
        *(Path("/var/lib/rancher/volumes"), Path(variables["COWPOKE_CREDENTIALS_DIR"])),
    )
    for path in needed:
        assert any(path.is_relative_to(one) for one in writable), path
