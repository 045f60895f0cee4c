"""What another program may put into a host's queue, or publish to its workers."""

import base64
import json
from typing import Any

from cowpoke.messages import task_message

QUEUE = "host.1"
NAME = "compute.instance.activate"


def ours(event_id: str = "e1", **headers: Any) -> dict[str, Any]:
    """A message as the ledger pushes it, with other headers."""
    text = task_message(event_id=event_id, task_name=NAME, queue=QUEUE, summary="instance:1")
    message: dict[str, Any] = json.loads(text)
    message["headers"].update(headers)
    return message


def encoded(body: object) -> str:
    """A body as kombu sends it."""
    return base64.b64encode(json.dumps(body).encode()).decode()


def command(**body: Any) -> dict[str, Any]:
    """A remote-control message as kombu publishes it."""
    whole = {"method": "ping", "arguments": {}, "destination": None, **body}
    return {**ours(), "body": encoded(whole), "headers": {"clock": 7, "expires": 0}}


def changed(**fields: Any) -> dict[str, Any]:
    """A message with other fields; None leaves a field out."""
    whole = {**ours(), **fields}
    return {key: value for key, value in whole.items() if value is not None}


#: Items of a queue that are no message for us.
UNREADABLE: dict[str, Any] = {
    "no UTF-8": b"\xff\xfe",
    "nothing": b"",
    "not JSON": b"{",
    "a number": 5,
    "a list": [1, 2],
    "null": b"null",
    "deep": b"[" * 60_000,
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "huge": b'"' + b"x" * 100_000 + b'"',
    "a huge number": b"9" * 10_000,
    "no headers": changed(headers=None),
    "headers of a wrong type": changed(headers="x"),
    "no id": changed(headers={"task": NAME}),
    "an id of a wrong type": ours(id=["e1"]),
    "an empty id": ours(id=""),
    "a long id": ours(id="e" * 1000),
    "half a UTF-16 pair": ours(id="\ud800"),
    "no task": changed(headers={"id": "e1"}),
    "a task of a wrong type": ours(task={"a": 1}),
    "a task without a name": ours(task=""),
    "no body": changed(body=None),
    "a body of a wrong type": changed(body=[1]),
    "a body not in base64": changed(body="%%%"),
    "a body that is not ASCII": changed(body="\u00e9\ud800"),
    "a body not in UTF-8": changed(body=base64.b64encode(b"\xff").decode()),
    "a body not in JSON": changed(body=base64.b64encode(b"{").decode()),
    "a deep body": changed(body=base64.b64encode(b"[" * 40_000).decode()),
    "a body of another shape": changed(body=encoded({"args": ["e1"]})),
    "a short body": changed(body=encoded([["e1"], {}])),
    "no arguments": changed(body=encoded([[], {}, {}])),
    "another event's arguments": changed(body=encoded([["e2"], {}, {}])),
    "more arguments": changed(body=encoded([["e1"], {"x": 1}, {}])),
    "no properties": changed(properties=None),
    "properties of a wrong type": changed(properties=[]),
    "an unknown encoding of the body": changed(properties={"body_encoding": "rot13"}),
    "an encoding of a wrong type": changed(properties={"body_encoding": ["base64"]}),
    "pickle": changed(**{"content-type": "application/x-python-serialize"}),
    "no content type": changed(**{"content-type": None}),
    "a content type of a wrong type": changed(**{"content-type": {"a": 1}}),
    "another content encoding": changed(**{"content-encoding": "utf-16"}),
    "no content encoding": changed(**{"content-encoding": None}),
}


def as_item(message: object) -> bytes:
    """A message as it stands in a queue; bytes stay as they are."""
    return message if isinstance(message, bytes) else json.dumps(message).encode()
