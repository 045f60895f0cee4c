"""A ledger in a real Redis, which is empty at the start of each test."""

import pytest
from cryptography.fernet import Fernet

from cowpoke.broker import BrokerSettings, connect
from cowpoke.seal import ClusterKeyring, Sealer
from tests.ledgers import Ledgers


@pytest.fixture
def sealer():
    """A sealer with a key of the test's own."""
    return Sealer(Fernet.generate_key().decode())


@pytest.fixture
def keyring():
    """The keys of a cluster of the test's own."""
    return ClusterKeyring(Fernet.generate_key().decode())


@pytest.fixture
def client(redis_url):
    """A client as the programs have it."""
    with connect(BrokerSettings.model_validate({"REDIS_URL": redis_url})) as connected:
        yield connected


@pytest.fixture
def ledgers(client, keyring):
    """All sides of the ledger as the programs have them."""
    return Ledgers(client, keyring)
