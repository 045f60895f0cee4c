"""The lines for people about events and results: readable, short, without a secret."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowpoke.events import Event
from cowpoke.routes import LANES
from cowpoke.summary import MOST_CHARACTERS, result_summary, summary_of
from tests import factories

EVENTS = Path(__file__).parents[2] / "fixtures" / "events"
HOST = {"id": 1, "name": None, "data": {"fields": {"hostname": "host1"}}}
CONTAINER_ID = "4f1c2ab39d10" + "0" * 52
SECRET = "s3cret-value-71"


def event_of(name: str, data: object, resource: str = "instanceHostMap:1ihm50") -> Event:
    """An event of a resource `type:id`."""
    kind, _, number = resource.partition(":")
    return Event.model_validate(
        {"id": "e1", "name": name, "data": data, "resourceType": kind, "resourceId": number or None}
    )


def activate(**changes) -> Event:
    """An activate of `web-1` on `host1`; the changes are keys of the instance."""
    fields = changes.pop("fields", {"imageUuid": "docker:nginx:1.25"})
    data = factories.instance_data(fields, **{"id": 37, "name": "web-1", "host": HOST, **changes})
    return event_of("compute.instance.activate", data)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (activate(), "web-1 (1i37) nginx:1.25 on host1"),
        (activate(fields={}), "web-1 (1i37) example/sleep:1.0 on host1"),
        (activate(host={**HOST, "name": "shop-3"}), "web-1 (1i37) nginx:1.25 on shop-3"),
        (activate(name=None, host={"id": 1}), "(1i37) nginx:1.25"),
        (
            activate(fields={"imageUuid": "docker:app@sha256:" + "ab" * 32}),
            "web-1 (1i37) app@abababababab on host1",
        ),
        (event_of("storage.image.activate", factories.image_data()), "example/sleep:1.0"),
        (
            event_of(
                "storage.volume.activate", factories.volume_data({"driver": "nfs"}, name="db")
            ),
            "db (1v178) nfs",
        ),
        (
            event_of("storage.volume.remove", factories.volume_data(instance={"name": "web-1"})),
            "volume (1v178) of web-1",
        ),
        (event_of("volume.remove", {"volume": {"id": 7, "name": "db"}}), "db (1v7)"),
        (
            event_of("compute.instance.pull", {"instancePull": {"image": factories.image()}}),
            "example/sleep:1.0",
        ),
        (
            event_of("compute.instance.inspect", {"instanceInspect": {"name": "/nat"}}),
            "nat",
        ),
        (
            event_of("compute.instance.force.stop", {"instanceForceStop": {"id": CONTAINER_ID}}),
            "4f1c2ab39d10",
        ),
        (
            event_of("config.update", {"items": [{"name": "services"}, {"name": "hosts"}]}),
            "services, hosts",
        ),
        (
            event_of(
                "delegate.request",
                {"event": {"name": "ping;agent=4"}, "instanceData": {"id": 9, "name": "agent"}},
            ),
            "ping for agent (1i9)",
        ),
        (event_of("ping", {}, "agent:1a5"), "agent:1a5"),
        (event_of("ping", {}, ""), "-"),
    ],
)
def test_summary_names_what_an_event_is_about(event, line):
    """Name, id, image and host, from where each event has them."""
    assert summary_of(event) == line


def report(status: str = "running", **state) -> dict:
    """The reply about a container, as `worker.report` makes it."""
    inspect = {"State": {"Status": status, "Running": status == "running", **state}}
    data = {"dockerInspect": inspect, "+fields": {"dockerIp": "10.42.3.7"}}
    return {"instanceHostMap": {"instance": {"+data": data, "externalId": CONTAINER_ID}}}


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        ("compute.instance.activate", report(), "running 4f1c2ab39d10 10.42.3.7"),
        ("compute.instance.activate", {}, "started in 3.2 s"),
        (
            "compute.instance.deactivate",
            report("exited", ExitCode=137),
            "exited 4f1c2ab39d10 exit code 137",
        ),
        ("compute.instance.remove", {}, "removed in 3.2 s"),
        ("compute.instance.pull", {}, "pulled in 3.2 s"),
        ("storage.image.activate", {"imageStoragePoolMap": {}}, "image ready in 3.2 s"),
        ("config.update", {"upToDate": ["services", "hosts"]}, "up to date: services, hosts"),
        ("config.update", {}, "done in 3.2 s"),
        ("ping", {"resources": [{"type": "instance"}, {"type": "host"}]}, "1 container in 3.2 s"),
        ("ping", {}, "answered in 3.2 s"),
        ("some.other.event", {}, "done in 3.2 s"),
    ],
)
def test_result_says_what_became_of_the_event(name, data, line):
    """A state, an id and an address, or what was done and how long it took."""
    assert result_summary(event_of(name, {}), data, 3.21) == line


def test_inspect_result_names_the_container_that_was_found():
    """The inspect stands in the reply as Docker has it."""
    inspect = {"Id": CONTAINER_ID, "State": {"Status": "running", "Running": True}}
    event = event_of("compute.instance.inspect", {}, "instanceInspect")
    assert result_summary(event, {"instanceInspect": inspect}, 0) == "running 4f1c2ab39d10"
    assert result_summary(event, {"instanceInspect": None}, 0) == "not found in 0.0 s"


@pytest.mark.parametrize(
    "image",
    [
        f"docker:https://user:{SECRET}@registry.example/app",
        f"docker:user:{SECRET}@registry.example/app",
        f"docker:https://registry.example/app?token={SECRET}",
        f"docker:registry.example/app#{SECRET}",
        f"docker:registry.example/app {SECRET}",
    ],
)
def test_credential_in_an_image_name_is_left_out(image):
    """A text that is no image name ends where it stops being one."""
    line = summary_of(activate(fields={"imageUuid": image}))
    assert SECRET not in line
    assert "registry.example/app" in line


def test_long_and_unprintable_names_are_cut_and_replaced():
    """One line of at most 120 characters that a terminal can show."""
    line = summary_of(activate(name="a" * 300, fields={"imageUuid": "docker:" + "b" * 300}))
    assert len(line) == MOST_CHARACTERS
    assert line.startswith("aaa")
    assert "…" in line
    assert "(1i37) bbb" in line
    assert summary_of(activate(name="a\x1b[31m\nb")).startswith("a?[31m b (1i37)")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "instanceHostMap",
                        "instance",
                        "host",
                        "image",
                        "data",
                        "fields",
                        "name",
                        "id",
                    ),
                    *("imageUuid", "volume", "volumeStoragePoolMap", "items", "event", "upToDate"),
                    *("dockerImage", "fullName", "+data", "dockerInspect", "State", "resources"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.sampled_from([*LANES]), st.dictionaries(st.just("instanceHostMap"), JSON) | JSON)
def test_any_json_gives_a_printable_line(name, data):
    """Whatever cattle sends, an event is taken in."""
    data = data if isinstance(data, dict) else {}
    event = event_of(name, data)
    for line in (summary_of(event), result_summary(event, data, 1.5)):
        assert 0 < len(line) <= MOST_CHARACTERS
        assert line.isprintable()


def test_secrets_in_every_place_of_an_event_stay_out():
    """Environment, labels, commands, options, token, credential and inspect."""
    hidden = json.loads((EVENTS / "activate_every_field.json").read_text())
    instance = hidden["data"]["instanceHostMap"]["instance"]
    fields = instance["data"]["fields"]
    for key in ("environment", "labels"):
        fields[key] = {"PASSWORD": SECRET, SECRET: "x"}
    fields |= {"command": SECRET, "commandArgs": [SECRET], "entryPoint": [SECRET]}
    fields |= {"healthCmd": [SECRET], "logConfig": {"config": {"token": SECRET}}}
    instance["token"] = SECRET
    instance["image"]["registryCredential"] = {"publicValue": "user", "secretValue": SECRET}
    event = Event.model_validate(hidden)
    assert SECRET not in summary_of(event)
    reply = report()
    inspect = reply["instanceHostMap"]["instance"]["+data"]["dockerInspect"]
    inspect["Config"] = {"Env": [f"PASSWORD={SECRET}"], "Cmd": [SECRET], "Labels": {"a": SECRET}}
    assert SECRET not in result_summary(event, reply, 1)
