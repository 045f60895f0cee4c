"""Whatever cattle sends, the answer is a value or a `PayloadError`."""

import contextlib
import copy
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.create import Facts, container_names, create_body, facts_needed, ignored_fields
from worker.errors import PayloadError
from worker.payload import (
    force_stop_of,
    image_of,
    inspect_of,
    instance_of,
    process_of,
    pull_of,
    volume_of,
)

READERS = {
    force_stop_of: "instanceForceStop",
    image_of: "imageStoragePoolMap",
    inspect_of: "instanceInspect",
    instance_of: "instanceHostMap",
    process_of: "processData",
    pull_of: "instancePull",
    volume_of: "volumeStoragePoolMap",
}
KEYS = st.sampled_from(
    ["image", "volume", "instance", "host", "kind", "id", "uuid", "data", "mode"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=8)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=8,
)
EVERY_FIELD = json.loads(
    (Path(__file__).parents[3] / "fixtures/events/activate_every_field.json").read_text()
)["data"]
QUICK = settings(max_examples=20, suppress_health_check=list(HealthCheck))


def paths(value, path=()):
    """Every path into a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, item in items:
        yield from paths(item, (*path, key))


PATHS = sorted((path for path in paths(EVERY_FIELD) if path), key=str)


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@QUICK
@given(value=JSON)
def test_any_json_is_read_or_refused(read, value):
    """Arbitrary JSON gives a value or a PayloadError, whole or below the right key."""
    for data in (value, {READERS[read]: value}):
        with contextlib.suppress(PayloadError):
            read(data)


@settings(max_examples=100)
@given(path=st.sampled_from(PATHS), value=JSON)
def test_one_wrong_place_is_read_or_refused(path, value):
    """A whole event with one place replaced by anything maps, or is refused with a reason."""
    data = copy.deepcopy(EVERY_FIELD)
    parent = data
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    with contextlib.suppress(PayloadError):
        instance = instance_of(data)
        facts_needed(instance)
        ignored_fields(instance)
        container_names(instance)
        create_body(instance, Facts(config_url="http://localhost:8080/v1"))
