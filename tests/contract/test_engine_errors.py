"""Nothing foreign passes the Engine's edge."""

import inspect

import docker.errors
import pytest
import requests.exceptions
import urllib3.exceptions

from worker.engine.errors import TRANSLATIONS, engine_errors, translated
from worker.errors import EngineError, EngineUnavailableError

TRANSPORT = urllib3.exceptions.HTTPError


def classes(module):
    """The exceptions that a module itself defines."""
    found = [one for _, one in inspect.getmembers(module, inspect.isclass)]
    errors = [one for one in found if issubclass(one, Exception) and not issubclass(one, Warning)]
    own = [one for one in errors if one.__module__ == module.__name__]
    return sorted(own, key=lambda one: one.__name__)


def test_every_class_of_the_sdk_is_in_the_table():
    """A new class in docker.errors must be given a meaning here."""
    assert [one.__name__ for one in classes(docker.errors) if one not in TRANSLATIONS] == []


@pytest.mark.parametrize(
    "kind",
    [
        *classes(requests.exceptions),
        *(one for one in classes(urllib3.exceptions) if issubclass(one, TRANSPORT)),
    ],
    ids=lambda kind: kind.__name__,
)
def test_every_class_of_the_transport_is_translated(kind):
    """What the two HTTP libraries raise is an outage; their warnings are raised by nobody."""
    error = kind.__new__(kind)
    assert translated(error) is EngineUnavailableError


def test_the_innermost_reason_is_told():
    """`No such file or directory` instead of four wrappers around it."""
    wrapped = requests.exceptions.ConnectionError("wrapped")
    wrapped.__cause__ = FileNotFoundError(2, "No such file or directory")
    with (
        pytest.raises(EngineUnavailableError, match=r"cannot look: .*No such file"),
        engine_errors("look"),
    ):
        raise wrapped


def test_our_own_errors_pass_as_they_are():
    """The edge translates what is foreign and nothing else."""
    ours = EngineError("ours")
    with pytest.raises(EngineError) as caught, engine_errors("look"):
        raise ours
    assert caught.value is ours
