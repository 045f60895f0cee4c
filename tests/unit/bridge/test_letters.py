"""What a reply is made of is sealed; whatever lies beside it in Redis decides nothing."""

import json
from dataclasses import replace

import pytest
from cryptography.fernet import Fernet

from bridge.agents.registry import Agents
from bridge.outbound.letters import Letters, UnreadableOutcomeError
from bridge.settings import AgentKeys
from cowpoke.envelopes import Envelope, echo_of, sealed_envelope, sealed_outcome
from cowpoke.events import Event
from cowpoke.ledger.outcome_stream import Delivery
from cowpoke.outcomes import progress, success
from cowpoke.seal import ClusterKeyring, Sealer, host_key
from cowpoke.version import CONTRACT_VERSION
from tests.factories import event

HOST = "host-1"
AGENTS = (
    AgentKeys(access_key="a", secret_key="secret-a"),
    AgentKeys(access_key="b", secret_key="secret-b"),
)
CLUSTER_KEY = Fernet.generate_key().decode()
KEYRING = ClusterKeyring(CLUSTER_KEY)
DONE = success({"done": True})
DEADLINE_MS = 45_000


def envelope(event_id="e1", host=HOST, agent="b", keyring=KEYRING, **fields):
    """What a bridge sealed with an event."""
    made = Envelope(
        echo=echo_of(Event.model_validate(event(id=event_id, **fields))),
        host_uuid=host,
        agent=agent,
        deadline_ms=DEADLINE_MS,
    )
    return sealed_envelope(keyring.bridge, made)


def content(event_id="e1", host=HOST, outcome=DONE, keyring=KEYRING, **options):
    """What a worker sealed as an event's outcome."""
    return sealed_outcome(keyring.host(host), event_id, outcome, **options)


def delivery(**fields):
    """A true one, but for these fields."""
    true = Delivery(
        outcome_id="1-0",
        host_uuid=HOST,
        event_id="e1",
        lane="compute",
        kind="success",
        envelope=envelope(),
        content=content(),
    )
    return replace(true, **fields)


def open_all(one, keyring=KEYRING):
    """Open envelope and outcome."""
    return Letters(keyring, Agents(AGENTS)).opened(one).outcome()


def test_true_outcome_is_opened():
    """With its event, its agent and its deadline."""
    letter = Letters(KEYRING, Agents(AGENTS)).opened(delivery(content=content(claimed_ms=5)))
    assert letter.outcome() == DONE
    assert (letter.event_id, letter.agent, letter.deadline_ms) == ("e1", AGENTS[1], DEADLINE_MS)
    assert letter.claimed_ms() == 5


#: What a thief of the key of another host, or of this one, can make.
THIEF = Sealer(host_key(CLUSTER_KEY, HOST))
STRANGER = ClusterKeyring(Fernet.generate_key().decode())


@pytest.mark.parametrize(
    "forged",
    [
        {"content": content("e2")},
        {"envelope": envelope("e2")},
        {"event_id": "e2"},
        {"envelope": envelope("e2"), "event_id": "e2"},
        {"host_uuid": "host-2"},
        {"content": content(host="host-2")},
        {"envelope": envelope(host="host-2")},
        {"kind": "error"},
        {"kind": "progress"},
        {"kind": "of the future"},
        {"content": content(outcome=progress("half")), "kind": "success"},
        {"content": content(keyring=STRANGER)},
        {"envelope": envelope(keyring=STRANGER)},
        {"envelope": THIEF.seal({"v": 1, "echo": {"id": "e1"}, "host": HOST, "agent": "a"})},
        {"envelope": content()},
        {"content": envelope()},
        {"content": ""},
        {"envelope": ""},
        {"content": "\udcff\udcfe"},
        {"envelope": "\udcff\udcfe"},
        {"content": json.dumps({"v": 1, "event_id": "e1", "kind": "success"})},
    ],
)
def test_outcome_that_was_put_together_is_refused(forged):
    """A copy beside another envelope, another host's, another kind, another key, no text."""
    with pytest.raises(UnreadableOutcomeError):
        open_all(delivery(**forged))


def _later(sealer, **fields):
    return sealer.seal({"v": CONTRACT_VERSION + 1, **fields})


@pytest.mark.parametrize(
    "later",
    [
        {"content": _later(KEYRING.host(HOST), event_id="e1", kind="success")},
        {"envelope": _later(KEYRING.bridge, echo={"id": "e1"}, host=HOST)},
    ],
    ids=["content", "envelope"],
)
def test_outcome_of_a_later_version_is_left_to_a_later_bridge(later):
    """This one says so, and reads nothing into it."""
    with pytest.raises(UnreadableOutcomeError, match="version"):
        open_all(delivery(**later))


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"echo": None},
        {"echo": []},
        {"echo": {"id": "e1"}},
        {"echo": {"id": "", "name": "x"}},
        {"echo": {"id": "e1", "name": "x", "inner": {"id": 5}}},
        {"agent": None, "deadline_ms": "soon"},
    ],
)
def test_envelope_that_lacks_a_part_is_refused(broken):
    """Without keys anybody may write one; it is put aside, and stops nothing."""
    plain = ClusterKeyring()
    whole = {"v": 1, "echo": {"id": "e1", "name": "ping"}, "host": HOST, "agent": "a"}
    text = json.dumps({**whole, "deadline_ms": 5, **broken} if broken else {"v": 1, "host": HOST})
    with pytest.raises(UnreadableOutcomeError):
        open_all(delivery(envelope=text, content=content(keyring=plain)), plain)


def test_echo_is_complete_whatever_was_sealed():
    """A reply quotes five fields; one that is missing is null, one of a later release is not."""
    echo = {"id": "e1", "name": "ping", "color": "blue"}
    text = KEYRING.bridge.seal(
        {"v": 1, "echo": echo, "host": HOST, "agent": "a", "deadline_ms": 1, "more": 1}
    )
    letter = Letters(KEYRING, Agents(AGENTS)).opened(delivery(envelope=text))
    assert letter.envelope.echo == {
        "id": "e1",
        "name": "ping",
        "replyTo": None,
        "resourceType": None,
        "resourceId": None,
    }


def test_outcome_with_one_more_key_is_opened():
    """A later release of the same contract says more of it."""
    more = {"v": 1, "event_id": "e1", **DONE.to_json(), "color": "blue"}
    assert open_all(delivery(content=KEYRING.host(HOST).seal(more))) == DONE


def test_lane_beside_the_envelope_decides_nothing():
    """Who writes another lane gets neither the slots nor the impatience of pongs."""
    letters = Letters(KEYRING, Agents(AGENTS))
    assert not letters.opened(delivery(lane="control")).is_pong
    pong = delivery(envelope=envelope(name="ping"), lane="compute")
    assert letters.opened(pong).is_pong


def test_reply_of_an_agent_that_is_not_ours_goes_out_all_the_same():
    """Taken out of the settings, or another bridge's: cattle looks at the reply's name."""
    letter = Letters(KEYRING, Agents(AGENTS)).opened(delivery(envelope=envelope(agent="gone")))
    assert (letter.agent, letter.envelope.agent) == (AGENTS[0], "gone")


def test_deadline_that_progress_moved_is_in_the_outcome():
    """And never shortens that of the envelope."""
    letters = Letters(KEYRING, Agents(AGENTS))
    later = letters.opened(delivery(content=content(deadline_ms=DEADLINE_MS + 1)))
    assert later.with_deadline_of_outcome().deadline_ms == DEADLINE_MS + 1
    earlier = letters.opened(delivery(content=content(deadline_ms=1)))
    assert earlier.with_deadline_of_outcome().deadline_ms == DEADLINE_MS
