"""A ledger in a real Redis, which is empty at the start of each test."""

import pytest
from cryptography.fernet import Fernet

from cowpoke.broker import BrokerSettings, connect
from cowpoke.ledger.ledger import Ledger
from cowpoke.seal import Sealer


@pytest.fixture
def sealer():
    """A sealer with a key of the test's own."""
    return Sealer(Fernet.generate_key().decode())


@pytest.fixture
def client(redis_url):
    """A client as the programs have it."""
    with connect(BrokerSettings.model_validate({"REDIS_URL": redis_url})) as connected:
        yield connected


@pytest.fixture
def ledger(client, sealer):
    """A ledger as the programs have it."""
    return Ledger(client, sealer)
