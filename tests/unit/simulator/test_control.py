"""The control API and its client, config content, and the process itself."""

from __future__ import annotations

import asyncio
import io
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import threading

import pytest
from pydantic import ValidationError

from simulator.client import Cattle, SimulatorError
from simulator.control import default_gateway
from simulator.settings import SimulatorSettings

ACTIVATE = {"name": "compute.instance.activate"}


@pytest.fixture
def client_session(run, cattle, next_event):
    """`client_session(use)`: run `use(client)` in a thread while an agent answers everything."""

    def session(use, **settings):
        async def scenario():
            async with cattle(**settings) as (server, agent), agent.subscribe() as stream:

                async def answer():
                    while True:
                        event = await next_event(stream)
                        if "replyTo" in event:
                            await agent.reply(event, data={"echo": event["data"]})

                answering = asyncio.create_task(answer())
                client = Cattle(server.url)

                def used():
                    try:
                        return use(client)
                    finally:
                        client.close()

                try:
                    return await asyncio.to_thread(used)
                finally:
                    answering.cancel()
                    await asyncio.gather(answering, return_exceptions=True)

        return run(scenario())

    return session


def test_client_call_returns_the_reply(client_session):
    """A call comes back with its final reply and how long it took."""

    def use(client):
        return client.call("compute.instance.activate", {"a": 1}, event_id="e1")

    call = client_session(use)
    assert (call.id, call.state, call.data) == ("e1", "success", {"echo": {"a": 1}})
    assert call.elapsed_ms > 0
    assert call.message is None


def test_client_send_then_wait(client_session):
    """A sent event can be waited for later and is among the records."""

    def use(client):
        event_id = client.send(raw_event={**ACTIVATE, "resourceId": "1ihm1"})
        call = client.wait(event_id, 5)
        return call, client.record(event_id), client.records(data=False), client.stats()

    call, record, records, stats = client_session(use)
    assert call.state == record["state"] == "success"
    assert [entry["id"] for entry in records] == [call.id]
    assert "data" not in records[0]["replies"][0]["event"]
    assert (stats["calls"], stats["finals"], stats["open_sockets"]) == (1, 1, {"1a5": 1})


def test_client_one_way(client_session):
    """A one-way event ends at once, unanswered."""
    call = client_session(lambda client: client.call(ACTIVATE["name"], one_way=True))
    assert (call.state, call.reply) == ("one_way", None)


def test_client_turns_knobs(client_session):
    """Knobs are turned one at a time and off together."""

    def use(client):
        client.faults(send_twice=True)
        turned = client.faults(cut_frame=2)
        return turned["send_twice"], turned["cut_frame"], any(client.faults_off().values())

    assert client_session(use) == (True, 2, False)


def test_client_adds_agents(client_session):
    """An agent added while running can be called by its key, and shows no secret."""

    def use(client):
        added = client.add_agent("k2", "secret-of-k2")
        call = client.call(ACTIVATE["name"], agent="k2", timeout_ms=10)
        return added, call.state, client.agents()

    added, state, agents = client_session(use)
    assert (added["id"], state) == ("1a6", "timeout")
    assert [agent["id"] for agent in agents] == ["1a5", "1a6"]
    assert "secret" not in str(agents)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda client: client.call(""), "needs a name"),
        (lambda client: client.call("ping", agent="nobody"), "means 0 agents"),
        (lambda client: client.faults(typo=1), "typo"),
        (lambda client: client.record("none"), "No call has the id"),
        (lambda client: client.add_agent("k", "other"), "another secret"),
    ],
)
def test_mistakes_are_explained(client_session, use, words):
    """A control call that cannot be meant says what was wrong."""
    with pytest.raises(SimulatorError, match=words):
        client_session(use)


def test_client_needs_a_whole_address():
    """An address without a port is refused at once."""
    with pytest.raises(ValueError, match="must look like"):
        Cattle("localhost:80")


def test_raw_frames_go_out_verbatim(run, cattle):
    """Nonsense reaches the agent's sockets as it is."""

    async def scenario():
        async with cattle() as (_, agent), agent.subscribe() as stream:
            await stream.receive()
            _, answer = await agent.control("POST", "/frames", {"text": "{nonsense"})
            return answer, (await stream.receive()).data

    assert run(scenario()) == ({"sockets": 1}, "{nonsense")


def test_twenty_thousand_calls_are_cheap(run, cattle):
    """All records stay readable, and their payloads are dropped when they end."""

    async def scenario():
        async with cattle() as (server, agent):
            known = server.agents.find(None)
            for _ in range(20_000):
                server.calls.start(known, dict(ACTIVATE), timeout_s=0.01)
            await asyncio.sleep(0)
            _, records = await agent.control("GET", "/calls?data=0")
            return len(records)

    assert run(scenario()) == 20_000


def test_config_versions_are_kept_per_agent(run, cattle):
    """A PUT is recorded for its agent and shown by the control API."""

    async def scenario():
        async with cattle() as (_server, agent):
            path = "/configcontent/pyagent?version=latest"
            async with agent.ask("PUT", path) as response:
                status = response.status
            _, agents = await agent.control("GET", "/agents")
            return status, agents[0]["config_versions"]

    assert run(scenario()) == (200, {"pyagent": "latest"})


def test_a_put_without_a_version_is_answered_with_the_archive(run, cattle):
    """W 9: 200, the item's archive, and nothing is recorded."""

    async def scenario():
        async with cattle() as (_server, agent):
            async with agent.ask("PUT", "/configcontent/pyagent") as response:
                status, body = response.status, await response.read()
            _, agents = await agent.control("GET", "/agents")
            return status, body, agents[0]["config_versions"]

    status, body, versions = run(scenario())
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert "pyagent-1-simulated/version" in archive.getnames()
    assert (status, versions) == (200, {})


def test_config_content_is_an_archive(run, cattle):
    """A GET gives a gzip tar under item and version; unknown items are 404."""

    async def scenario():
        async with cattle() as (_server, agent):
            async with agent.ask("GET", "/configcontent/host-config") as response:
                body = await response.read()
            async with agent.ask("GET", "/configcontent/nothing") as response:
                return body, response.status

    body, status = run(scenario())
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        names = archive.getnames()
    assert "host-config-1-simulated/SHA1SUMS" in names
    assert status == 404


def test_an_agent_lists_itself_and_a_service_reconnects_it(run, cattle, spec):
    """GET agents shows the caller; the reconnect action is for service accounts."""

    async def scenario():
        specs = (spec(state="disconnected"), spec("k2", "s"), spec("svc", "t", kind="service"))
        async with cattle(agents=specs) as (server, agent):
            async with agent.ask("GET", "/agents") as response:
                own = [entry["id"] for entry in (await response.json())["data"]]
            path = "/agents/1a5?action=reconnect"
            async with agent.ask("POST", path) as response:
                refused = response.status
            async with agent.ask("POST", path, auth=("svc", "t")) as response:
                return own, refused, response.status, server.agents.find(5).state

    assert run(scenario()) == (["1a5"], 403, 202, "reconnecting")


def test_settings_come_from_the_environment(monkeypatch):
    """Agents are a JSON list; secrets do not print."""
    monkeypatch.setenv("SIMULATOR_AGENTS", '[{"access_key": "a", "secret_key": "hidden"}]')
    monkeypatch.setenv("SIMULATOR_PING_INTERVAL_S", "0")
    settings = SimulatorSettings()
    assert (settings.agents[0].access_key, settings.ping_interval_s) == ("a", 0)
    assert "hidden" not in repr(settings)


def test_a_bad_setting_is_refused():
    """A number out of range names its field."""
    with pytest.raises(ValidationError, match="frame_limit"):
        SimulatorSettings(frame_limit=0)


def test_the_process_says_where_it_listens_and_stops():
    """`python -m simulator` prints one line with its address and ends well on SIGTERM."""
    process = subprocess.Popen(
        (sys.executable, "-m", "simulator"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    alarm = threading.Timer(20, process.kill)
    alarm.start()
    try:
        line = process.stdout.readline().decode()
        client = Cattle(line.removeprefix("simulator: ").strip())
        agents = client.agents()
        client.close()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
    finally:
        alarm.cancel()
        process.kill()
        process.wait()
    assert line.startswith("simulator: http://127.0.0.1:")
    assert (agents[0]["id"], process.returncode, errors) == ("1a5", 0, b"")


def test_the_default_gateway_is_read_from_the_routes_of_the_kernel(tmp_path):
    """From there come connections to a published port; without a route there is none."""
    head = "Iface\tDestination\tGateway\tFlags\n"
    routes = tmp_path / "route"
    routes.write_text(f"{head}eth0\t000011AC\t00000000\t0001\n", encoding="ascii")
    assert default_gateway(routes) is None
    number = struct.unpack("=I", socket.inet_aton("172.17.0.1"))[0]
    routes.write_text(f"{head}eth0\t00000000\t{number:08X}\t0003\n", encoding="ascii")
    assert default_gateway(routes) == "172.17.0.1"
