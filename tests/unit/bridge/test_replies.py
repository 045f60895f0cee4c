"""The shape of replies, as cattle's schema wants them."""

import pytest

from bridge.outbound.replies import reply, without_list
from cowpoke.outcomes import WARNINGS, error, progress, success

ENVELOPE = {
    "id": "e1",
    "name": "compute.instance.activate;agent=5",
    "replyTo": "reply.1",
    "resourceType": "instanceHostMap",
    "resourceId": "1ihm1",
}
NOT_NULLABLE = {
    "name",
    "previousIds",
    "id",
    "time",
    "publisher",
    "transitioning",
    "transitioningMessage",
    "transitioningInternalMessage",
    "transitioningProgress",
}
OUTCOMES = [
    success({"a": 1}),
    success({}),
    error("name-taken", "taken"),
    progress("Pulling"),
    progress("Pulling", 0),
]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_echoes_the_event(outcome):
    """A reply goes to where the event says and names the event it answers (A 1.16)."""
    answer = reply(ENVELOPE, outcome, "1-0")
    assert {key: answer[key] for key in ("name", "previousIds", "previousNames")} == {
        "name": "reply.1",
        "previousIds": ["e1"],
        "previousNames": ["compute.instance.activate;agent=5"],
    }
    assert (answer["resourceType"], answer["resourceId"]) == ("instanceHostMap", "1ihm1")


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_has_no_null_that_cattle_refuses(outcome):
    """An explicit null in a field that may not have one is a 422."""
    bare = {**ENVELOPE, "resourceType": None, "resourceId": None}
    answer = reply(bare, outcome, "1-0")
    assert {key for key, value in answer.items() if value is None} == {"resourceType", "resourceId"}
    assert not any(answer.get(key, "") is None for key in NOT_NULLABLE)


def test_success_carries_its_data_and_no_transitioning():
    """Absent `transitioning` is what cattle takes for success."""
    answer = reply(ENVELOPE, success({"a": 1}), "1-0")
    assert answer["data"] == {"a": 1}
    assert not [key for key in answer if key.startswith("transitioning")]


def test_success_with_warnings_carries_them_as_its_message():
    """W 14: the message stands without `transitioning`, so that it stays a success."""
    answer = reply(ENVELOPE, success({"a": 1, WARNINGS: ["no limit"]}), "1-0")
    assert answer["data"] == {"a": 1}
    shown = {key: value for key, value in answer.items() if key.startswith("transitioning")}
    assert shown == {"transitioningMessage": "no limit"}


def texts(envelope, outcome):
    """The two texts of an error, and the one that cattle makes of them for a resource."""
    answer = reply(envelope, outcome, "1-0")
    assert answer["transitioning"] == "error"
    both = answer["transitioningMessage"], answer["transitioningInternalMessage"]
    return *both, " : ".join(both)


def test_error_has_its_sentence_and_its_identifiers_in_different_texts():
    """A 1.20, W 5: cattle joins both, so that equal texts would be read twice."""
    sentence, internal, joined = texts(ENVELOPE, error("name-taken", "The name is taken"))
    assert sentence == "The name is taken"
    assert internal == "name-taken instanceHostMap:1ihm1 event e1"
    assert joined == "The name is taken : name-taken instanceHostMap:1ihm1 event e1"


@pytest.mark.parametrize("name", ["compute.instance.pull", "compute.instance.pull;agent=5"])
def test_error_of_a_pull_task_has_its_sentence_in_the_internal_text(name):
    """W 5: cattle shows only that one on a pull task."""
    envelope = {**ENVELOPE, "name": name, "resourceType": "resourcePull", "resourceId": None}
    message, internal, _ = texts(envelope, error("image-pull-failed", "manifest unknown"))
    assert message == "image-pull-failed resourcePull event e1"
    assert internal == "manifest unknown"


@pytest.mark.parametrize(
    ("outcome", "changes", "internal"),
    [
        (error("event-poisonous", "x"), {"resourceId": None}, "event-poisonous instanceHostMap"),
        (
            error("config-not-reported", "x"),
            {"resourceType": None, "resourceId": None},
            "config-not-reported",
        ),
        (error("", "x"), {}, "instanceHostMap:1ihm1"),
    ],
)
def test_identifiers_that_are_missing_are_left_out(outcome, changes, internal):
    """W 5: no `None` and no empty word in what people read."""
    assert texts({**ENVELOPE, **changes}, outcome)[1] == f"{internal} event e1"


def test_error_of_a_delegated_event_has_the_identifiers_of_each_level():
    """W 5, A 1.26: each level is read by whoever sent that event."""
    outer = {**ENVELOPE, "id": "e0", "name": "delegate.request", "inner": ENVELOPE}
    answer = reply(outer, error("script-failed", "exit code 1"), "1-0")
    assert answer["transitioningInternalMessage"].endswith("event e0")
    assert answer["data"]["transitioningInternalMessage"].endswith("event e1")


def test_progress_says_how_far_it_is():
    """Progress has a message, and a number when there is one; zero is a number (A 1.25)."""
    answer = reply(ENVELOPE, progress("Pulling", 0), "1-0")
    assert (answer["transitioning"], answer["transitioningMessage"]) == ("yes", "Pulling")
    assert answer["transitioningProgress"] == 0
    assert "transitioningProgress" not in reply(ENVELOPE, progress("Pulling"), "1-0")


def test_a_final_reply_sent_again_has_the_id_it_had():
    """The same answer to the same event is the same reply, whatever entry of the stream it was."""
    first = reply(ENVELOPE, success({}), "1-0")["id"]
    assert reply(ENVELOPE, success({}), "2-0")["id"] == first
    assert reply({**ENVELOPE, "id": "e2"}, success({}), "1-0")["id"] != first


def test_each_progress_has_an_id_of_its_own():
    """Two steps of progress are two replies, and neither is the final one."""
    ids = {reply(ENVELOPE, progress("a"), entry)["id"] for entry in ("1-0", "2-0", "2-0")}
    assert len(ids | {reply(ENVELOPE, success({}), "1-0")["id"]}) == 3


def test_a_pong_without_its_list_keeps_the_rest():
    """A 14.12: whole or nothing; the host's own resources stay."""
    host = {"type": "host", "uuid": "h"}
    listed = [{"type": "hostUuid", "uuid": "h"}, {"type": "instance", "uuid": "i"}]
    options = {"instances": True}
    assert without_list({"options": options, "resources": [host, *listed]}) == {"resources": [host]}
    assert without_list({"options": options, "resources": listed}) == {}
