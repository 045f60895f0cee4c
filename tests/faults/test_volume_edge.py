"""What volume drivers make the Engine answer, and what becomes of it (A.13)."""

import pytest

from tests import factories
from tests.faults.scripted_engine import Answer
from worker.errors import EngineError
from worker.host.name_store import orphan_volumes

pytestmark = pytest.mark.usefixtures("quick_removals")

ACTIVATE = "storage.volume.activate"
REMOVE = "storage.volume.remove"
REPLY = {"volumeStoragePoolMap": {"volume": {"format": "docker"}}}
ONE = "/volumes/data-1"
DATA = factories.volume_data({"driver": "longhorn", "driverOpts": {"size": 10}}, name="data-1")


def orphans(host):
    """Names of the volumes that are on record as left over."""
    return [name for name, _ in orphan_volumes(host.host.settings.state_dir).all()]


def test_a_volume_that_its_driver_moved_is_made_anew(engine, host):
    """Mountpoint `moved`: removed in Docker and created again (A 13.4)."""
    engine.script("GET", ONE, Answer(200, {"Name": "data-1", "Mountpoint": "moved"}))
    engine.script("DELETE", ONE, Answer(204, None))
    engine.script("POST", "/volumes/create", Answer(201, {"Name": "data-1"}))
    assert host.run(ACTIVATE, DATA) == REPLY
    assert [engine.count("DELETE", ONE), engine.count("POST", "/volumes/create")] == [1, 1]


@pytest.mark.parametrize("found", [{"Mountpoint": "/var/lib/x"}, {"Mountpoint": ""}, {}])
def test_a_volume_that_is_anywhere_else_is_left_alone(engine, host, found):
    """No Mountpoint at all is no reason either (A 13.4)."""
    engine.script("GET", ONE, Answer(200, {"Name": "data-1", **found}))
    assert host.calls_of(ACTIVATE, DATA) == {"version": 1, "volume.inspect": 1}


def test_an_engine_in_trouble_is_not_taken_for_a_missing_volume(engine, host):
    """Nothing is created over what only could not be seen (A 13.4)."""
    engine.script("GET", ONE, Answer(500, {"message": "the driver does not answer"}))
    with pytest.raises(EngineError, match="the driver does not answer"):
        host.run(ACTIVATE, DATA)
    assert engine.count("POST", "/volumes/create") == 0


@pytest.mark.parametrize("status", [409, 500])
def test_a_driver_that_says_should_retry_is_an_error(engine, host, status):
    """It is no orphan: cattle asks again (A 13.8)."""
    said = {"message": "remove data-1: volume is detaching. Should retry"}
    engine.script("DELETE", ONE, Answer(status, said))
    with pytest.raises(EngineError, match="Should retry"):
        host.run(REMOVE, DATA)
    assert orphans(host) == []


def test_a_conflict_then_none_leaves_no_orphan(engine, host):
    """409 is a success with a record, 204 takes the record away (A 13.8, C 28)."""
    said = {"message": "remove data-1: volume is in use"}
    engine.script("DELETE", ONE, *[Answer(409, said)] * 3, Answer(204, None))
    assert host.run(REMOVE, DATA) == REPLY
    assert orphans(host) == ["data-1"]
    assert host.run(REMOVE, DATA) == REPLY
    assert orphans(host) == []


@pytest.mark.parametrize(
    "answer",
    [Answer(404, {"message": "no such volume"}), Answer(500, {"message": "x: no such volume"})],
)
def test_a_volume_that_is_gone_is_removed(engine, host, answer):
    """Some drivers say it with a 500 (A 13.9)."""
    engine.script("DELETE", ONE, answer)
    assert host.run(REMOVE, DATA) == REPLY
