"""A system of real processes for the tests of this folder."""

import pytest

from tests.system import System


@pytest.fixture(scope="module")
def system(redis_server, engine, test_image, tmp_path_factory):
    """One running system for a module: simulator, bridge, worker."""
    redis_server.client().flushall()
    with System(
        redis=redis_server,
        state_dir=tmp_path_factory.mktemp("state"),
        engine_environment=engine.environment,
        # Also what is only logged for debugging must hold no secret.
        bridge={"CATTLE_DEBUG": "true"},
        worker={"CATTLE_DEBUG": "true"},
    ) as running:
        yield running
