"""`delegate.request`: an event handed to a script inside a container.

Row numbers (A, B) refer to docs/parity.md.
"""

import io
import tarfile
import time

import pytest

from tests.floor import allowed_s
from worker.errors import (
    ContainerMissingError,
    OperationError,
    PayloadError,
    ProtectedContainerError,
)

NAME = "delegate.request"
FOLDER = "/var/lib/cattle/events"


def inner(name="config.update", **changes):
    """The event for the agent in the container."""
    given = {"id": "inner-1", "name": name, "replyTo": "config.update.reply", "data": {"a": 1}}
    return {**given, **changes}


@pytest.fixture
def agent(host, new_instance, containers_of, docker_client):
    """A running container with scripts: `agent({name: text})` gives its instance data."""

    def make(scripts, *, agent_id=None, **fields):
        data = new_instance(fields, agentId=agent_id)
        host.run("compute.instance.activate", data)
        (found,) = containers_of(data)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, text in scripts.items():
                content = f"#!/bin/sh\n{text}\n".encode()
                entry = tarfile.TarInfo(f"{FOLDER}/{name}".lstrip("/"))
                entry.size, entry.mode = len(content), 0o755
                tar.addfile(entry, io.BytesIO(content))
        docker_client.put_archive(found["Id"], "/", archive.getvalue())
        instance = data["instanceHostMap"]["instance"]
        return {"uuid": instance["uuid"], "kind": "container", "agentId": 7, "token": "t"}

    return make


def request(instance_data, event):
    """The data of a delegate.request event."""
    return {"instanceData": instance_data, "event": event}


def test_the_script_gets_the_event_and_its_object_is_the_inner_reply(host, agent):
    """The whole inner event on standard input, the printed object back (A 14.20)."""
    running = agent({"config.update": "cat"})
    event = inner(resourceType="agent", resourceId="1a7")
    assert host.run(NAME, request(running, event)) == event
    assert host.told == [("Running config.update", None)]


def test_a_large_event_and_a_large_answer_pass_each_other(host, agent):
    """Neither side waits for the other, however much both have to say (A 14.20)."""
    running = agent({"config.update": "cat"})
    event = inner(data={"text": "x" * 200_000})
    assert host.run(NAME, request(running, event))["data"] == event["data"]


def test_other_output_is_given_as_it_is(host, agent):
    """A script need not print JSON; its errors are not mixed into it (A 14.20)."""
    running = agent({"config.update": "echo done; echo warned >&2"})
    assert host.run(NAME, request(running, inner())) == {"exitCode": 0, "output": "done\n"}


def test_a_suffix_of_the_name_is_not_the_scripts(host, agent):
    """`config.update;agent=7` runs `config.update` (A 1.4, 14.20)."""
    running = agent({"config.update": "echo ok"})
    reply = host.run(NAME, request(running, inner("config.update;agent=7")))
    assert reply["output"] == "ok\n"


def test_the_script_sees_the_containers_world_not_the_hosts(host, agent):
    """It runs inside, with the container's variables (A 14.20)."""
    running = agent(
        {"config.update": "echo $CATTLE_SIGN; test -e /etc/debian_version || echo inside"},
        environment={"CATTLE_SIGN": "here"},
    )
    assert host.run(NAME, request(running, inner()))["output"] == "here\ninside\n"


def test_a_failed_script_is_an_error_with_its_words(host, agent):
    """Exit code and what it said (A 14.20)."""
    running = agent({"config.update": "echo no route >&2; exit 3"})
    with pytest.raises(OperationError, match="failed with exit code 3: no route"):
        host.run(NAME, request(running, inner()))


def test_a_script_that_is_not_there_is_an_error(host, agent):
    """The Engine's code for a missing program, its words (A 14.20)."""
    with pytest.raises(OperationError, match=r"/var/lib/cattle/events/host\.update"):
        host.run(NAME, request(agent({}), inner("host.update")))


def test_a_script_that_does_not_end_is_not_waited_for(make_host, agent):
    """The reply comes within the bound (A 14.20)."""
    running = agent({"config.update": "sleep 60"})
    host = make_host(WORKER_SCRIPT_TIMEOUT_S="0.5")
    began_s = time.monotonic()
    with pytest.raises(OperationError, match=r"did not end within 0\.5 s"):
        host.run(NAME, request(running, inner()))
    assert time.monotonic() - began_s < allowed_s(5)


@pytest.mark.parametrize("name", ["../../../bin/sh", "/bin/sh", "..", "a/b", ".hidden", "a b", ""])
def test_only_names_in_the_folder_are_run(host, name):
    """A path is refused before anything is looked for (A 14.20, 1.14)."""
    with pytest.raises(PayloadError):
        host.run(NAME, request({"uuid": "none"}, inner(name)))


def test_the_container_is_also_found_by_its_agents_number(host, agent, containers_of):
    """The label that activate gave it (A 2.9)."""
    label = {"io.rancher.container.agent_id": "93"}
    agent({"config.update": "echo wrong"}, labels=label)  # a user's own is not taken for it
    agent({"config.update": "echo right"}, agent_id=93)
    reply = host.run(NAME, request({"uuid": None, "agentId": 93}, inner()))
    assert reply["output"] == "right\n"


def test_a_container_that_is_not_here_is_named(host):
    """Nothing is silently dropped (A 1.13)."""
    with pytest.raises(ContainerMissingError, match="agent 7, instance none"):
        host.run(NAME, request({"uuid": "none", "agentId": 7}, inner()))


def test_a_stopped_container_is_an_error(host, new_instance):
    """It is not started for this (A 14.20)."""
    data = new_instance({"command": ["/bin/true"]})
    host.run("compute.instance.activate", data)
    host.run("compute.instance.deactivate", {**data, "processData": {"timeout": 0}})
    uuid = data["instanceHostMap"]["instance"]["uuid"]
    with pytest.raises(OperationError, match="is not running"):
        host.run(NAME, request({"uuid": uuid}, inner()))


def test_our_own_containers_are_not_entered(host, native_part):
    """Parity B.6: not even for a script."""
    instance = native_part("worker")["instanceHostMap"]["instance"]
    with pytest.raises(ProtectedContainerError, match="not entered"):
        host.run(NAME, request({"uuid": instance["uuid"]}, inner()))


@pytest.mark.parametrize("data", [{}, {"instanceData": {}}, {"event": {}}, {"instanceData": 1}])
def test_what_cannot_be_read_is_refused(host, data):
    """With the missing part's name (A 1.15)."""
    with pytest.raises(PayloadError, match=r"event|instanceData"):
        host.run(NAME, data, resource_type="agent")


def test_the_input_is_one_json_text(host, agent):
    """It ends, so that a script may read all of it (A 14.20)."""
    running = agent({"config.update": "head -c 100000 | grep -c inner-1"})
    assert host.run(NAME, request(running, inner()))["output"] == "1\n"
