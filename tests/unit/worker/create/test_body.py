"""The whole mapping: every field, any order, one owner per key, and the recorded events.

Row numbers (A) refer to docs/parity.md.
"""

import json
import random
from pathlib import Path

import pytest

from tests.factories import instance_data
from tests.unit.worker.create.mapping import body
from worker.create import RULES, Facts, Fragment, create_body, ignored_fields
from worker.errors import MappingConflictError, PayloadError
from worker.payload import Instance, InstanceFields, instance_of

TESTS = Path(__file__).parents[3]
GOLDEN = TESTS.parents[1] / "shared" / "golden"
EVERY_FIELD = json.loads((TESTS / "fixtures/events/activate_every_field.json").read_text())
EVERY_BODY = json.loads((TESTS / "fixtures/bodies/activate_every_field.json").read_text())
FACTS = Facts(
    docker_root="/mnt/docker",
    container_ids={
        "uuid-of-db": "id-of-db",
        "uuid-of-files": "id-of-files",
        "memory": "id-of-memory",
    },
    search_domains=("office.example", "rancher.internal"),
    default_disk="/dev/sda",
    config_url="https://cattle.example/v1",
    proxies={"http_proxy": "http://proxy.example:3128", "NO_PROXY": "localhost"},
)


@pytest.fixture
def every_field() -> Instance:
    """The instance that says something in every field."""
    return instance_of(EVERY_FIELD["data"])


def test_every_field(every_field):
    """A 4.1: an event that says everything gives the reviewed body, nothing more or less."""
    assert create_body(every_field, FACTS) == EVERY_BODY


def test_every_field_of_the_model_is_in_the_event():
    """The reviewed event really says something in each field that we know."""
    said = set(EVERY_FIELD["data"]["instanceHostMap"]["instance"]["data"]["fields"])
    known = {field.alias for field in InstanceFields.model_fields.values()} - {"\0unread"}
    assert known - said == set()


def test_every_field_of_the_model_is_read(every_field):
    """Every field that is parsed is read by some rule: none is carried for nothing."""
    read: set[str] = set()

    class Recording(InstanceFields):
        def __getattribute__(self, name):
            if name in InstanceFields.model_fields:
                read.add(name)
            return super().__getattribute__(name)

    for image, changes in ((every_field.image, {}), (None, {"working_dir": None})):
        fields = Recording.model_construct(**{**dict(every_field.fields), **changes})
        data = every_field.data.model_copy(update={"fields": fields})
        instance = every_field.model_copy(update={"data": data, "image": image})
        create_body(instance, FACTS)
        ignored_fields(instance)
    assert set(InstanceFields.model_fields) - read == set()


@pytest.mark.parametrize("seed", range(12))
def test_rules_have_no_order(every_field, seed):
    """Any order of the rules gives the same body."""
    rules = random.Random(seed).sample(RULES, len(RULES))
    assert create_body(every_field, FACTS, rules=rules) == EVERY_BODY


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_added_twice_is_refused(every_field, rule):
    """Each key of the Engine's has one owner: a second one is our defect."""
    with pytest.raises(MappingConflictError, match="two rules set"):
        create_body(every_field, FACTS, rules=(*RULES, rule))


@pytest.mark.parametrize("key", ["Image", "HostConfig"])
def test_no_rule_owns_the_frame(every_field, key):
    """A rule that sets the image or the whole HostConfig is refused as well."""
    with pytest.raises(MappingConflictError, match=key):
        create_body(every_field, FACTS, rules=(lambda *_: Fragment(config={key: 1}),))


def test_smallest_body():
    """Absent is absent: an instance that says nothing gives image, labels and no more."""
    labels = {
        "io.rancher.container.uuid": "5b2a8f0e-8f0e-4b7c-9d55-0a4b7c9d5511",
        "io.rancher.container.name": "web",
    }
    assert body() == {"Image": "example/sleep:1.0", "HostConfig": {}, "Labels": labels}


def test_nulls_are_absent():
    """A 4.2, A 4.3: a field that is null, labels and environment too, is as good as missing."""
    aliases = [str(field.alias) for field in InstanceFields.model_fields.values()]
    assert body(dict.fromkeys(aliases)) == body()


def test_an_instance_without_image_is_refused():
    """A 3.4: nothing can be started without an image, and the error says so."""
    with pytest.raises(PayloadError, match="Can not start container with no image"):
        body(image=None)


def test_fields_nobody_reads_are_named():
    """A 4.19, A 4.31: gone and unknown fields are named when they say something."""
    fields = {"lxcConf": {"a": "b"}, "kernelMemory": None, "netAlias": [], "brandNew": 1}
    assert ignored_fields(instance_of(instance_data(fields))) == ("brandNew", "lxcConf")


def test_cattles_own_fields_are_not_worth_a_line():
    """A 4.31: what cattle keeps for itself among the fields is not named."""
    fields = {"startOnCreate": True, "networkIds": [1], "dockerHostIp": "1.2.3.4"}
    assert ignored_fields(instance_of(instance_data(fields))) == ()


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("instance_activate*.request.json")))
def test_recorded_events_map(path):
    """Each recorded activation maps to a body with the event's image and uuid."""
    data = json.loads(path.read_text())["data"]
    made = create_body(instance_of(data), Facts())
    assert made["Image"] == "ibuildthecloud/helloworld:latest"
    assert made["Labels"]["io.rancher.container.uuid"] == "c861f990-4472-4fa1-960f-65171b544c28"
