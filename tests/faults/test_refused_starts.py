"""The Engine refuses a create or a start: whose fault it is, by the words, on a scripted Engine."""

import threading
import time

import pytest

from tests import factories
from tests.faults.scripted_engine import Answer
from worker.errors import (
    ContainerMissingError,
    EngineBusyError,
    EngineError,
    NameConflictError,
    RetryableError,
)

ACTIVATE = "compute.instance.activate"
CREATE = "/containers/create"
START = "/containers/.*/start"
OTHER = "c26bd51e" * 8
FIRST = f"{1:064x}"  # the id of the first container that a scripted Engine creates


def says(status, words):
    """A refusal in the Engine's form."""
    return Answer(status, {"message": words})


# -- another container -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, f"No such container: {OTHER}"),
        (404, "No such container: main"),
        (404, f"joining network namespace of container: No such container: {OTHER}"),
        (409, f"cannot join network of a non running container: {OTHER}"),
        (409, f"Cannot link to a non running container: /db AS /r-web/db ({OTHER})"),
        (409, f"cannot join network namespace of container: container {OTHER} is restarting"),
        (409, f"container {OTHER} is marked for removal and cannot be started"),
        (500, f"cannot join PID of a non running container: {OTHER}"),
        (500, f"container {OTHER} is not running"),
        (500, "No such container: main"),
    ],
)
def test_start_refused_for_another_container_is_an_error_at_once(engine, host, status, words):
    """The Engine's words are the answer, no retry helps, nothing is left of the try (W 17)."""
    engine.script("POST", START, says(status, words))
    with pytest.raises(EngineError) as caught:
        host.run(ACTIVATE, factories.instance_data())
    assert words in caught.value.message
    assert not isinstance(caught.value, RetryableError)
    assert engine.containers == {}


@pytest.mark.parametrize("words", ["No such container: main", f"no such container: {OTHER}"])
def test_create_refused_for_another_container_is_an_error_at_once(engine, host, words):
    """The source of volumes is gone, which a create finds out (W 17)."""
    engine.script("POST", CREATE, says(404, words))
    with pytest.raises(ContainerMissingError, match=words):
        host.run(ACTIVATE, factories.instance_data())
    assert engine.count("POST", CREATE) == 1


@pytest.mark.parametrize("named", [FIRST, FIRST[:12]])
def test_own_container_that_vanished_before_its_start_is_retried(engine, host, named):
    """Removed between create and start: a retry makes a new one (W 17)."""
    engine.script("POST", START, says(404, f"No such container: {named}"))
    with pytest.raises(EngineBusyError, match="was removed while"):
        host.run(ACTIVATE, factories.instance_data())


def test_stopped_container_stays_when_another_one_is_gone(engine, host):
    """Only what this call made is taken back (W 17, A 3.9)."""
    engine.add_container("a" * 64, name="r-web", uuid=factories.UUID)
    engine.script("POST", START, says(404, f"No such container: {OTHER}"))
    with pytest.raises(EngineError, match="No such container"):
        host.run(ACTIVATE, factories.instance_data())
    assert "a" * 64 in engine.containers


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 409, 500])
@pytest.mark.parametrize(
    "words",
    [
        'Conflict. The container name "/r-web" is already in use by container "9999". You must ...',
        'Conflict. The name "/r-web" is already in use by container 9999.',
        'the container name "r-web" is already in use by 9999',
    ],
)
def test_name_conflict_is_known_by_its_words(engine, host, status, words):
    """Whatever the status: the container is made under another name (W 18, C 14)."""
    engine.add_container("9" * 64, name="r-web")
    engine.script("POST", CREATE, says(status, words))
    host.run(ACTIVATE, factories.instance_data())
    (made,) = [one for one in engine.containers.values() if one["Id"] != "9" * 64]
    assert made["State"]["Running"]
    assert engine.count("POST", CREATE) == 2


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (409, "create shared: conflict: volume name must be unique"),
        (409, "volume name shared is in use by another driver"),
        (409, 'create r-web: a volume with the name "r-web" is in use'),
        (409, 'create r-web: conflict: the name "r-web" is in use by a volume'),
        (409, 'Conflict. The container name "/r-web/db" is already in use by container "9999"'),
        (409, "endpoint with name r-web already exists in network bridge"),
        (400, "invalid volume name"),
        (500, "driver failed: name resolution of the storage host timed out"),
    ],
)
def test_other_conflicts_are_errors_at_once(engine, host, status, words):
    """A conflict about a volume or another name is the user's to solve (W 18)."""
    engine.script("POST", CREATE, *[says(status, words)] * 9)
    with pytest.raises(EngineError) as caught:
        host.run(ACTIVATE, factories.instance_data())
    assert words in caught.value.message
    assert not isinstance(caught.value, NameConflictError | RetryableError)
    assert engine.count("POST", CREATE) == 1


# -- removals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 409, 500])
@pytest.mark.parametrize(
    "words",
    [
        "container is marked for removal and cannot be started",
        f"removal of container {'a' * 64} is already in progress",
        f"container {'a' * 12} is being removed",
        "cannot start: container is dead",
    ],
)
def test_start_during_a_removal_waits_and_makes_the_container_anew(engine, host, status, words):
    """As a removal waits for another one (W 18, A 11.7)."""
    engine.add_container("a" * 64, name="r-web", uuid=factories.UUID)
    engine.containers["a" * 64]["State"] = {"Running": False, "Status": "removing"}
    engine.script("POST", START, says(status, words))
    engine.script("DELETE", "/containers/.*", says(409, "removal of container is in progress"))
    gone = threading.Timer(0.5, engine.containers.pop, ["a" * 64])
    gone.start()
    reply = host.run(ACTIVATE, factories.instance_data())
    gone.join()
    (only,) = engine.containers.values()
    assert only["State"]["Running"]
    assert reply["instanceHostMap"]["instance"]["externalId"] == only["Id"] != "a" * 64


def test_start_refused_for_the_removal_of_another_container_keeps_ours(engine, host):
    """Only a container that the Engine removes is made anew; ours may hold data (W 17, W 18)."""
    engine.add_container("a" * 64, name="r-web", uuid=factories.UUID)
    engine.containers["a" * 64]["State"] = {"Running": False, "Status": "exited"}
    words = "container r-other is marked for removal and cannot be started"
    engine.script("POST", START, says(409, words))
    with pytest.raises(EngineBusyError, match="r-other"):
        host.run(ACTIVATE, factories.instance_data())
    assert "a" * 64 in engine.containers


def test_removal_that_does_not_end_is_an_error_in_bounded_time(engine, make_host):
    """The wait has the Engine's timeout, and the event is tried again (W 18)."""
    host = make_host(WORKER_ENGINE_TIMEOUT_S="1")
    engine.add_container("a" * 64, name="r-web", uuid=factories.UUID)
    engine.containers["a" * 64]["State"] = {"Running": False, "Status": "removing"}
    engine.script("POST", START, says(409, "container is marked for removal"))
    engine.script("DELETE", "/containers/.*", says(409, "removal is already in progress"))
    began_s = time.monotonic()
    with pytest.raises(EngineBusyError, match="did not end within 1"):
        host.run(ACTIVATE, factories.instance_data())
    assert time.monotonic() - began_s < 10
    assert "a" * 64 in engine.containers
