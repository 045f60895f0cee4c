"""What tests of Redis users need from the Redis they run on."""

import pytest

from simulator.rig.redis_server import RedisServer


def skip_without_selectors(server: RedisServer) -> None:
    """Skip the test on a Redis before 7.0, which does not know the rules of our users."""
    with server.client() as client:
        version = client.info("server")["redis_version"]
    if int(version.partition(".")[0]) < 7:
        pytest.skip("a Redis before 7.0 has no selectors")
