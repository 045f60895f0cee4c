"""One minute of random kills with a fixed seed; `make chaos` is the long one."""

import re

import pytest

from simulator.rig.engine import EngineMissingError
from simulator.rig.processes import Program

SEED = "4711"


@pytest.mark.timeout(400)
def test_a_minute_of_chaos_loses_and_doubles_nothing(missing_part):
    """Parts are killed at random under load; each event has its one answer."""
    arguments = ("--duration-s", "60", "--seed", SEED, "--hosts", "2")
    with Program("simulator.chaos", *arguments) as chaos:
        code = chaos.wait(380)
        table = chaos.output()
    if "no Docker Engine answers" in table:
        missing_part(EngineMissingError(table))
    assert code == 0, table
    for row in ("lost", "containers doubled", "duplicates, distinct ids", "containers left over"):
        assert re.search(rf"^{row} +0$", table, re.MULTILINE), table
