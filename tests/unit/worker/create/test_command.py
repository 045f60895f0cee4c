"""What runs, how it is talked to, how its health is asked for.

Row numbers (A, B) refer to docs/parity.md.
"""

import pytest

from tests.unit.worker.create.mapping import body
from worker.errors import PayloadError


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["sleep", "5"], ["sleep", "5"]),
        (["sleep", 5], ["sleep", "5"]),
        (["echo a b"], ["echo a b"]),
        (None, None),
        ([], None),
    ],
)
def test_command_list(command, expected):
    """A 4.28: a list goes over word by word, null and an empty one leave the image's command."""
    assert body({"command": command}).get("Cmd") == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [("sleep 5", ["sleep", "5"]), ("sh -c 'echo a b'", ["sh", "-c", "echo a b"]), ("  ", None)],
)
def test_command_text(command, expected):
    """A 4.29: a text is split as a shell would, a blank one is no command."""
    assert body({"command": command}).get("Cmd") == expected


def test_command_with_arguments():
    """A 4.30: a text with arguments is one word, blanks and all."""
    made = body({"command": "/my app", "commandArgs": ["-v", 1]})
    assert made["Cmd"] == ["/my app", "-v", "1"]


def test_command_that_cannot_be_split():
    """A 4.29: open quotes are refused, without showing the command."""
    with pytest.raises(PayloadError, match="No closing quotation") as caught:
        body({"command": "sh -c 'hunter2"})
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    ("entry_point", "expected"), [(["/a", "b c"], ["/a", "b c"]), ("/a b", ["/a", "b"]), ([], None)]
)
def test_entry_point(entry_point, expected):
    """A 4.13: a list goes over as it is, a text is split."""
    assert body({"entryPoint": entry_point}).get("Entrypoint") == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"stdinOpen": True}, {"OpenStdin": True}),
        ({"stdinOpen": True, "detach": True}, {"OpenStdin": True}),
        ({"detach": False}, {"AttachStdout": True, "AttachStderr": True}),
        (
            {"stdinOpen": True, "detach": False},
            {
                "OpenStdin": True,
                "AttachStdin": True,
                "StdinOnce": True,
                "AttachStdout": True,
                "AttachStderr": True,
            },
        ),
    ],
)
def test_attachment(fields, expected):
    """A 4.11, A 4.12: standard input is attached only when open and not detached."""
    keys = {"OpenStdin", "AttachStdin", "StdinOnce", "AttachStdout", "AttachStderr"}
    assert {key: value for key, value in body(fields).items() if key in keys} == expected


def test_health_check_in_nanoseconds():
    """B.1: the times of a health check become nanoseconds, zero included."""
    fields = {"healthCmd": ["CMD", "/x"], "healthInterval": 3, "healthTimeout": 0}
    expected = {"Test": ["CMD", "/x"], "Interval": 3_000_000_000, "Timeout": 0}
    assert body(fields)["Healthcheck"] == expected


@pytest.mark.parametrize(
    ("command", "test"),
    [
        (["CMD-SHELL", "a b"], ["CMD-SHELL", "a b"]),
        (["NONE"], ["NONE"]),
        (["/x", "-v"], ["CMD", "/x", "-v"]),
        ("a | b", ["CMD-SHELL", "a | b"]),
    ],
)
def test_health_commands(command, test):
    """B.1: a command without the Engine's keyword gets the one that fits."""
    assert body({"healthCmd": command})["Healthcheck"] == {"Test": test}


@pytest.mark.parametrize("command", [None, [], "", " "])
def test_no_health_check(command):
    """B.1: without a command there is no health block, whatever its times."""
    assert "Healthcheck" not in body({"healthCmd": command, "healthInterval": 5})
