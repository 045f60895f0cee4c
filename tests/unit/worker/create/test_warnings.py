"""Fields that the Engine accepts and does not apply.

Row numbers (A, B, W) refer to docs/parity.md.
"""

import pytest

from tests.factories import instance_data
from worker.create import Facts, create_warnings, facts_needed
from worker.payload import instance_of

CONTAINERD = Facts(has_containerd_store=True)


def warnings(fields, facts=CONTAINERD):
    """The warnings of an instance with these fields."""
    return create_warnings(instance_of(instance_data(fields)), facts)


def test_size_limit_on_containerds_store_is_warned_of():
    """W 14: the Engine accepts the limit there and does not enforce it."""
    (warning,) = warnings({"storageOpt": {"size": "10G"}})
    assert warning.startswith("storageOpt.size 10G is not enforced")


@pytest.mark.parametrize(
    ("fields", "facts"),
    [
        ({"storageOpt": {"size": "10G"}}, Facts()),
        ({"storageOpt": {"other": "x"}}, CONTAINERD),
        ({"storageOpt": None}, CONTAINERD),
        ({}, CONTAINERD),
    ],
)
def test_nothing_to_warn_of(fields, facts):
    """W 14: other stores refuse a limit that they cannot enforce."""
    assert warnings(fields, facts) == ()


def test_fields_that_docker_dropped_are_warned_of():
    """A 4.19, B.1: each is named, without its value."""
    assert warnings({"lxcConf": {"a": "secret"}, "kernelMemory": 1, "brandNew": 1}) == (
        "kernelMemory is ignored: Docker no longer supports it",
        "lxcConf is ignored: Docker no longer supports it",
    )


@pytest.mark.parametrize(("options", "needed"), [({"size": "1G"}, True), ({"x": "y"}, False)])
def test_the_store_is_asked_for_only_with_a_size_limit(options, needed):
    """W 14: an instance without a size limit costs no look-up."""
    instance = instance_of(instance_data({"storageOpt": options}))
    assert facts_needed(instance).image_store is needed
