"""W 9: what the simulator answers and sends, against the recordings of a real cattle 1.6."""

from __future__ import annotations

import json
import re

import aiohttp
import pytest

from simulator import sample
from simulator.contexts import context_of
from simulator.settings import SimulatorSettings
from tests import recordings

#: Headers of one connection or one request; the transport's own belong to the web server.
OF_ONE_ANSWER = {"date", "sec-websocket-accept", "transfer-encoding", "x-api-schemas"}
IDS = {"x-api-account-id", "x-api-user-id"}
INSTANCE = sample.Instance(uuid="uuid-1", name="first", image="cowpoke-test:latest")
#: The user's own labels of a host, and what only some kernels and drivers report.
HOSTS_OWN = re.compile(
    r"/host/data/fields/((create)?labels|createLabels|info/diskInfo/dockerStorageDriverStatus)/"
)


@pytest.fixture(autouse=True, scope="module")
def _recordings(missing_part):
    if not recordings.RECORDINGS.is_file():
        missing_part(f"the recordings are not here: {recordings.RECORDINGS} does not exist")


def check_headers(ours, record):
    """Each recorded header is there with its value, apart from those of one answer."""
    ours = {name.lower(): value for name, value in ours.items()}
    recorded = {name.lower(): value for name, value in record["headers"].items()}
    assert recorded.keys() - ours.keys() <= OF_ONE_ANSWER
    for name in recorded.keys() - OF_ONE_ANSWER - IDS:
        assert ours[name].lower() == recorded[name].lower(), name
    for name in IDS:
        assert re.fullmatch(r"1a\d+", ours[name])
    assert ours["x-api-schemas"].endswith("/v1/schemas")


def test_an_opened_subscription_has_the_recorded_headers(run, cattle):
    """W 9: cookie, account, client address, as a 101 of cattle carries them."""

    async def scenario():
        async with cattle() as (_, agent), agent.subscribe() as stream:
            return dict(stream._response.headers)

    ours = run(scenario())
    for record in recordings.of_kind("ws-101"):
        check_headers(ours, record)


def test_a_refused_subscription_has_the_recorded_status_and_headers(run, cattle):
    """W 9: unknown keys while access control is off."""

    async def scenario():
        async with cattle(security_enabled=False) as (_, agent):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                async with agent.subscribe(auth=("nobody", "x")):
                    pass
            return caught.value.status, dict(caught.value.headers)

    status, ours = run(scenario())
    for record in recordings.of_kind("ws-refused"):
        assert status == record["status"]
        check_headers(ours, record)


@pytest.mark.parametrize("strict", [False, True])
def test_every_recorded_post_is_answered_as_recorded(run, cattle, strict):
    """W 9: 201 without a body; none of them needs cattle to be lax."""

    async def scenario():
        async with cattle(strict_publish=strict) as (_, agent):
            return [await agent.publish(one["body"]) for one in recordings.of_kind("publish")]

    recorded = [(one["status"], one["answer"] or "") for one in recordings.of_kind("publish")]
    assert run(scenario()) == recorded


def test_other_recorded_requests_are_answered_as_recorded(run, cattle, spec):
    """W 9: configcontent with a version has an empty 200; an agent's resource has cattle's keys."""

    async def scenario():
        async with cattle(agents=(spec(agent_id=2),)) as (_, agent):
            answers = []
            for one in recordings.of_kind("http"):
                path = one["path"].removeprefix("/v1")
                async with agent.ask(one["method"], path) as response:
                    answers.append((response.status, await response.text()))
            return answers

    for (status, text), record in zip(run(scenario()), recordings.of_kind("http"), strict=True):
        assert status == record["status"]
        if not record["answer"]:
            assert text == ""
            continue
        ours, theirs = json.loads(text), json.loads(record["answer"])
        assert ours.keys() <= theirs.keys()
        assert ours["links"].keys() == theirs["links"].keys()
        assert ours["actions"].keys() <= theirs["actions"].keys()
        for name in ("id", "type", "state", "kind", "transitioning"):
            assert ours[name] == theirs[name]


def test_the_first_heartbeat_comes_when_it_was_recorded():
    """W 9: about six seconds after the socket opened."""
    opened = recordings.of_kind("ws-101")[0]
    beat = next(one for one in recordings.of_kind("frame") if "replyTo" not in one["frame"])
    assert SimulatorSettings().first_heartbeat_s == pytest.approx(beat["t"] - opened["t"], abs=0.5)


def first_frame(name, *, start_count=None):
    """The first recorded frame of an event, optionally of an instance that ran so often."""

    def fits(frame):
        if frame["name"] != name:
            return False
        instance = frame["data"].get("instanceHostMap", {}).get("instance", {})
        return start_count is None or instance["startCount"] == start_count

    return next(frame for frame in recordings.frames().values() if fits(frame))


def own_paths(data):
    """The keys of an event's data without those that differ from host to host."""
    return {path for path in recordings.paths(data) if not HOSTS_OWN.search(path)}


@pytest.mark.parametrize(
    "wanted",
    [
        sample.image_activate(INSTANCE),
        sample.volume_activate(INSTANCE),
        sample.instance_activate(INSTANCE),
        sample.image_pull(INSTANCE),
        sample.instance_inspect("container-id"),
    ],
    ids=lambda wanted: wanted.name,
)
def test_a_sample_has_the_keys_of_the_recorded_event(wanted):
    """W 9: key by key, no more and no less; types and forms of ids as well."""
    frame = first_frame(wanted.name)
    assert own_paths(wanted.data) == own_paths(frame["data"])
    assert wanted.resource_type == frame["resourceType"]
    ids = (wanted.resource_id, frame["resourceId"])
    assert ids == (None, None) or len({re.sub(r"\d+$", "", one) for one in ids}) == 1


def ran_before():
    """The sample instance after the first recorded reply to an activate."""
    start = first_frame("compute.instance.activate")
    (reply,) = [
        one["body"]
        for one in recordings.of_kind("publish")
        if one["body"]["previousIds"] == [start["id"]]
    ]
    return sample.after(INSTANCE, reply["data"])


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("compute.instance.activate", sample.instance_activate),
        ("compute.instance.deactivate", sample.instance_deactivate),
        ("storage.volume.remove", sample.volume_remove),
    ],
)
def test_a_sample_of_an_instance_that_ran_carries_what_was_reported(name, wanted):
    """W 9: dockerInspect, dockerContainer, mounts and fields, as `after` took them from a reply."""
    ran = ran_before()
    frame = first_frame(name, start_count=1 if name.endswith(".activate") else None)
    ours, theirs = own_paths(wanted(ran).data), own_paths(frame["data"])
    # An address that cattle gave the container in between, and the allocator's own note.
    later = re.compile(r"AllocatorDao|/primaryIpAddress$|/ipAddresses\[\]")
    assert {path for path in theirs - ours if not later.search(path)} == set()
    added = {path for path in ours - theirs if not later.search(path)}
    assert added <= {"/processData", "/processData/timeout"}


def test_samples_are_as_large_as_recorded_events():
    """W 9: about 9 KB for a first start, about 22 KB for a later one."""
    first = first_frame("compute.instance.activate")
    later = first_frame("compute.instance.activate", start_count=1)
    for instance, frame in ((INSTANCE, first), (ran_before(), later)):
        ours = len(json.dumps(sample.instance_activate(instance).data))
        assert ours == pytest.approx(len(json.dumps(frame["data"])), rel=0.1)


def test_contexts_are_the_recorded_ones():
    """W 9: by event; pings of a reconnect have one, liveness pings and config.update none."""
    numbers = re.compile(r"\d+")
    seen = set()
    for frame in recordings.frames().values():
        theirs = frame.get("context")
        process = None if theirs is None else theirs["processName"]
        named = process in ("agent.activate", "agent.reconnect")
        ours = context_of(frame, process if named else None)
        if theirs is None or ours is None:
            assert ours is theirs, frame["name"]
            continue
        assert list(ours) == list(theirs)
        for key in ours.keys() - {"processUuid", "processId", "topResourceId", "resouceId"}:
            assert numbers.sub("N", ours[key]) == numbers.sub("N", theirs[key]), key
        seen.add(process)
    assert "agent.reconnect" in seen
