"""The table of lanes and the names of queues."""

import pytest

from cowpoke.routes import LANES, Lane, queue_for


@pytest.mark.parametrize(
    ("lane", "queue"),
    [
        (Lane.COMPUTE, "host.h1"),
        (Lane.CONTROL, "host.h1.control"),
        (Lane.IMAGES, "host.h1.images"),
    ],
)
def test_queue_is_the_hosts_and_the_lanes(lane, queue):
    """Each lane of a host has a queue of its own; that of containers has the shortest name."""
    assert queue_for("h1", lane) == queue


def test_ping_has_a_lane_that_nothing_slow_runs_in():
    """A ping never waits for a container or an image."""
    control = {name for name, lane in LANES.items() if lane is Lane.CONTROL}
    assert control == {"ping", "compute.instance.inspect"}


def test_images_have_a_lane_of_their_own():
    """A container never waits for an image pull."""
    images = {name for name, lane in LANES.items() if lane is Lane.IMAGES}
    assert images == {"compute.instance.pull", "storage.image.activate"}
