"""A system of real processes for the tests of this folder."""

import pytest

from simulator.rig.base_image import BaseImageError
from tests import compose_stack
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


@pytest.fixture(scope="session")
def compose_v2(missing_part):
    """The command of Compose 2."""
    found = compose_stack.compose_v2()
    return missing_part(found) if isinstance(found, str) else found


@pytest.fixture(scope="session")
def compose_image(engine, compose_v2, missing_part):
    """The images of this checkout on the session's Engine."""
    if not engine.host.startswith("unix://"):
        missing_part(f"the stack mounts the Engine's socket, and this one is at {engine.host}")
    client = engine.client(timeout_s=600)
    image = compose_stack.Image(engine, client, compose_v2)
    try:
        try:
            image.build()
        except BaseImageError as error:
            missing_part(str(error))
        yield image
    finally:
        image.remove()
        client.close()
