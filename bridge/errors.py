"""What may go wrong between cattle and the ledger, as one tree.

BridgeError
 +- DecodeError          a frame is not an event; names its id where that could be read
 +- StreamClosedError    the websocket ended, with the way it ended
 +- PublishError         cattle did not take a reply
     +- PublishRefusedError   and never will (400, 422): the outcome is given up and counted
     |   +- DoubtfulRefusalError  other 4xx, maybe of a proxy: given up after a while
     +- KeysRefusedError      from these keys (401): another agent's may do
         +- KeysUnknownError      cattle took it as another account's: nobody may get it
 +- NoAgentError         a reply can be sent by nobody: no host has joined, or none any more
 +- HttpAddressError     the address of the status page and of `/metrics` cannot be listened on
"""

from bridge.inbound.reconnect import Ending
from cowpoke.events import Event


class BridgeError(Exception):
    """Raised when the bridge cannot do its part; every error of the bridge is one."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class DecodeError(BridgeError):
    """Raised when a frame is not an event.

    `partial` is what a refusal needs, when the frame had at least an id and a replyTo.
    """

    def __init__(self, message: str, partial: Event | None = None) -> None:
        super().__init__(message)
        self.partial = partial


class StreamClosedError(BridgeError):
    """Raised when an agent's websocket ended or could not be opened."""

    def __init__(self, message: str, ending: Ending = Ending.LOST) -> None:
        super().__init__(message)
        self.ending = ending


class PublishError(BridgeError):
    """Raised when cattle did not take a reply and may take it later."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PublishRefusedError(PublishError):
    """Raised when cattle refused a reply in a way that will never change."""


class KeysRefusedError(PublishError):
    """Raised when cattle does not know the keys a reply was sent with, now or any more."""


class DoubtfulRefusalError(PublishRefusedError):
    """Raised when a reply was refused, maybe by a proxy that has no cattle at the moment."""


class KeysUnknownError(KeysRefusedError):
    """Raised when cattle accepted a reply, but with keys that it took for another account's.

    Without access control it answers 201 to keys of a removed agent.
    """


class NoAgentError(BridgeError):
    """Raised when a bridge without any agent has a reply to send."""

    def __init__(self) -> None:
        super().__init__("this bridge has no agent to send with")


class HttpAddressError(BridgeError):
    """Raised when the bridge cannot listen on the address of its HTTP server.

    `advice` names the setting to change.
    """

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice
