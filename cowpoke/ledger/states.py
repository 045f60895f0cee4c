"""The states of an event and the words the ledger's scripts answer with; drawn in `common.lua`."""

from enum import StrEnum


class State(StrEnum):
    """Where an event is."""

    RECORDED = "recorded"
    QUEUED = "queued"
    CLAIMED = "claimed"
    ANSWERED = "answered"
    EXPIRED = "expired"


class Accepted(StrEnum):
    """What became of an event that a bridge offered to the ledger."""

    QUEUED = "queued"
    #: It waits for an earlier event of the same resource.
    RECORDED = "recorded"
    #: The same id is being worked on: only its deadline moved.
    KNOWN = "known"
    #: The same id was answered before: the stored reply goes out again.
    ANSWERED = "answered"
    #: It was answered with an error at once.
    REFUSED = "refused"


class Verdict(StrEnum):
    """The answer to a worker that wants to claim an event."""

    CLAIMED = "claimed"
    #: Another live process has it: this is a second copy of the message.
    BUSY = "busy"
    #: An earlier event for its resource is not over: this is an old copy of its message.
    WAITS = "waits"
    #: It is answered or expired.
    OVER = "over"
    #: Its deadline passed while it waited.
    EXPIRED = "expired"
    #: No such entry: Redis lost it, or the message is forged.
    GONE = "gone"
