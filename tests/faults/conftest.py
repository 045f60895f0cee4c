"""Systems of real processes on an Engine that a test may hold up at any call."""

import pytest

from tests import factories
from tests.faults.scripted_engine import ScriptedEngine


@pytest.fixture(scope="module")
def scripted(tmp_path_factory):
    """One scripted Engine for a module; it has the image that samples ask for."""
    with ScriptedEngine(tmp_path_factory.mktemp("engine")) as started:
        started.images.add(factories.IMAGE)
        yield started


@pytest.fixture(autouse=True)
def usual_answers(request):
    """What one test scripted does not reach into the next."""
    yield
    if "scripted" in request.fixturenames:
        request.getfixturevalue("scripted").forget_scripts()
