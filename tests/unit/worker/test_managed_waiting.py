"""How long an activate waits for an address, and how it ends.

Row numbers (B) refer to docs/parity.md.
"""

from datetime import UTC, datetime, timedelta

import pytest

from tests.factories import instance_data, nic
from worker import deadline
from worker.container import Container
from worker.deadline import Deadline
from worker.errors import NetworkFailedError, NotYetError
from worker.network.settings import NetworkSettings
from worker.network.waiting import Connected, connected
from worker.payload import instance_of

ID = "0123456789abcdef" * 4
WITH_SUBNET = [nic("cni")]
WITHOUT = [nic("cni", ipAddresses=[])]


class Engine:
    """An Engine with one container."""

    def __init__(self, now):
        self.now = now

    def run_unless_missing(self, call, missing):  # noqa: ARG002 -- the client's
        """Answer an inspect."""
        return self.now


def started_ago(age_s, **state):
    """The inspect of a container that started so long ago; nothing connects it."""
    moment = datetime.now(UTC) - timedelta(seconds=age_s)
    started = moment.isoformat().replace("+00:00", "Z")
    return {
        "Id": ID,
        "State": {"Running": True, "Pid": 1 << 30, "StartedAt": started, **state},
        "Config": {"Labels": {"io.rancher.cni.network": "net"}},
    }


@pytest.fixture
def look(tmp_path):
    """Look for the address of a container, as one try of an event does."""

    def look(inspect, *, nics=WITHOUT, now=..., no_op=False):
        changes = {"processData": {"containerNoOpEvent": True}} if no_op else {}
        instance = instance_of(instance_data(nics=nics, **changes))
        settings = NetworkSettings(WORKER_NETWORK_STATE_DIR=str(tmp_path))
        engine = Engine(inspect if now is ... else now)
        return connected(Container(inspect=inspect), instance, engine, settings)

    return look


@pytest.mark.parametrize(
    ("age_s", "retry_in_s"),
    [(0, 0.25), (1, 1.0), (5, 2.0), (-60, 0.25), (24.0, 1.0)],
)
def test_pauses_grow_with_the_time_since_the_start(look, age_s, retry_in_s):
    """B.2: from 250 ms to 2 s, and the last look is at the end of the wait."""
    with pytest.raises(NotYetError) as waiting:
        look(started_ago(age_s))
    assert waiting.value.retry_in_s == pytest.approx(retry_in_s, abs=0.2)


def test_end_of_the_wait(look):
    """B.2: 25 s after the start; only a network without subnets makes it an error."""
    late = started_ago(26)
    assert look(late, nics=WITH_SUBNET) == Connected(container=Container(inspect=late))
    with pytest.raises(NetworkFailedError, match="Timeout getting IP address"):
        look(late)
    assert look(late, no_op=True) == Connected(container=Container(inspect=late))


def test_wait_ends_before_the_deadline_of_the_event(look):
    """B.2: the time is left in which the reply reaches cattle."""
    fresh = started_ago(0)
    with deadline.bound(Deadline(5, 45)), pytest.raises(NetworkFailedError):
        look(fresh)
    with deadline.bound(Deadline(20, 45)), pytest.raises(NotYetError):
        look(fresh)


def test_event_that_changes_nothing_waits_only_where_it_has_to(look):
    """B.2: cattle knows the address of a network with subnets."""
    fresh = started_ago(0)
    assert look(fresh, nics=WITH_SUBNET, no_op=True).address is None
    with pytest.raises(NotYetError):
        look(fresh, no_op=True)


def test_ended_container_is_no_failure(look):
    """B.2: it is reported as it is now, also when it is gone."""
    late = started_ago(26)
    ended = started_ago(26, Running=False)
    assert look(late, now=ended).container.inspect == ended
    assert look(late, now=None) == Connected(container=None)


def test_container_between_two_starts_is_not_awaited(look):
    """B.2: a crash loop with a restart policy has no process and no address."""
    waiting = started_ago(0, Pid=0, Restarting=True)
    assert look(waiting).address is None


def test_restarted_container_is_awaited_again(look):
    """B.2: what is known about the start before says nothing about this one."""
    with pytest.raises(NotYetError):
        look(started_ago(26), now=started_ago(1))


def test_other_containers_are_not_awaited(look):
    """B.2: only the label of the container says that CNI connects it."""
    inspect = started_ago(0)
    inspect["Config"]["Labels"] = {}
    assert look(inspect).address is None
