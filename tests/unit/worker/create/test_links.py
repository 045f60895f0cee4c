"""Links: Docker's own, and the variables that tell of them.

Row numbers (A) refer to docs/parity.md.
"""

import pytest

from tests.factories import instance_data, link, nic
from tests.unit.worker.create.mapping import body, host_config
from worker.create import Facts
from worker.create.links import link_environment
from worker.payload import instance_of

SERVED = [nic(network={"networkServices": [{"kind": "linkService"}]})]


def variables(*links, **changes):
    """The variables that these links make."""
    return link_environment(instance_of(instance_data(instanceLinks=list(links), **changes)))


def target(*lines):
    """A link's target with this environment."""
    return {"uuid": "t", "data": {"dockerInspect": {"Config": {"Env": list(lines)}}}}


def test_native_links():
    """A 8.9: a link with a target becomes one of Docker's, by id where it is known."""
    links = [link("db"), link("q", targetInstanceId=None), link("x", targetInstance=None)]
    assert host_config(instanceLinks=links)["Links"] == ["uuid-of-db:db"]
    facts = Facts(container_ids={"uuid-of-db": "id-of-db"})
    assert host_config(instanceLinks=links, facts=facts)["Links"] == ["id-of-db:db"]


def test_link_service_replaces_native_links():
    """A 8.10: where cattle serves links, Docker's are left out and variables are made."""
    made = body(instanceLinks=[link("db", (1, "tcp"))], nics=SERVED)
    assert "Links" not in made["HostConfig"]
    assert "DB_PORT=tcp://db:1" in made["Env"]


def test_link_service_of_another_card_does_not_count():
    """A 8.18: only the network of card 0 is asked for its services."""
    nics = [nic(), {**SERVED[0], "deviceNumber": 1}]
    assert host_config(instanceLinks=[link("db")], nics=nics)["Links"] == ["uuid-of-db:db"]


def test_native_containers_keep_native_links():
    """A 8.10: a container that the user made keeps Docker's links and gets no variables."""
    made = body(instanceLinks=[link("db", (1, "tcp"))], nics=SERVED, nativeContainer=True)
    assert made["HostConfig"]["Links"] == ["uuid-of-db:db"]
    assert "Env" not in made


def test_variables_of_one_link():
    """A 8.11: name, address and every port; the last port is the link's."""
    assert variables(link("my-db", (3306, "tcp"), (3307, "udp"))) == {
        "MY_DB_NAME": "/cattle/my-db",
        "MY_DB_PORT": "udp://my-db:3307",
        "MY_DB_PORT_3306_TCP": "tcp://my-db:3306",
        "MY_DB_PORT_3306_TCP_ADDR": "my-db",
        "MY_DB_PORT_3306_TCP_PORT": "3306",
        "MY_DB_PORT_3306_TCP_PROTO": "tcp",
        "MY_DB_PORT_3307_UDP": "udp://my-db:3307",
        "MY_DB_PORT_3307_UDP_ADDR": "my-db",
        "MY_DB_PORT_3307_UDP_PORT": "3307",
        "MY_DB_PORT_3307_UDP_PROTO": "udp",
    }


def test_containers_behind_a_link():
    """A 8.12: each container behind a link is told of twice, at the link's address."""
    data = {"fields": {"ports": [{"privatePort": 26}], "instanceNames": ["env_redis_1", "solo"]}}
    made = variables(link("redis", data=data))
    assert made["REDIS_NAME"] == "/cattle/redis"
    assert made["ENV_REDIS_1_NAME"] == "/cattle/env_redis_1"
    assert made["REDIS_1_NAME"] == "/cattle/redis_1"
    assert made["SOLO_NAME"] == "/cattle/solo"
    assert made["ENV_REDIS_1_PORT"] == made["REDIS_1_PORT"] == "tcp://redis:26"
    assert made["REDIS_1_PORT_26_TCP_ADDR"] == "redis"


def test_double_links():
    """A 8.12: two links with containers of the same names keep the last one's."""
    first = {"fields": {"ports": [{"privatePort": 1}], "instanceNames": ["e_x_1"]}}
    second = {"fields": {"ports": [{"privatePort": 2}], "instanceNames": ["e_x_1"]}}
    made = variables(link("a", data=first), link("b", data=second))
    assert made["X_1_PORT"] == "tcp://b:2"
    assert (made["A_PORT"], made["B_PORT"]) == ("tcp://a:1", "tcp://b:2")


@pytest.mark.parametrize("data", [None, {}, {"fields": None}, {"fields": {"ports": None}}])
def test_link_without_ports(data):
    """A 8.13: a link without ports is told of by its name only."""
    assert variables(link("db", data=data)) == {"DB_NAME": "/cattle/db"}


def test_environment_of_the_target():
    """A 8.14: the target's own variables are copied, without HOME, PATH and bare names."""
    made = variables(link("db", targetInstance=target("PATH=x", "HOME=x", "BARE", "A=1", "B=c=d")))
    assert made == {"DB_NAME": "/cattle/db", "DB_ENV_A": "1", "DB_ENV_B": "c=d"}


def test_links_of_the_target_are_not_copied():
    """A 8.14: what tells the target of its own links is not handed on."""
    lines = ("LOG_NAME=/cattle/log", "LOG_PORT=tcp://log:1", "LOG_ENV_X=1", "LOGO=y")
    assert variables(link("db", targetInstance=target(*lines))) == {
        "DB_NAME": "/cattle/db",
        "DB_ENV_LOGO": "y",
    }
