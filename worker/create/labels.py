"""The labels of the container: the user's, and ours, by which the container is found.

Row numbers (A, B) refer to docs/parity.md.
"""

from worker.container import UUID_LABEL as UUID
from worker.create.facts import Facts
from worker.create.fragment import Fragment, given
from worker.payload import Instance

PREFIX = "io.rancher.container."
NAME = f"{PREFIX}name"
IP = f"{PREFIX}ip"
MAC_ADDRESS = f"{PREFIX}mac_address"
SYSTEM = f"{PREFIX}system"
AGENT_ID = f"{PREFIX}agent_id"
CATTLE_URL = f"{PREFIX}cattle_url"
DNS_PRIORITY = f"{PREFIX}dns.priority"
PULL_IMAGE = f"{PREFIX}pull_image"
#: Set on every container of an installation: bridge, worker, Redis, Flower.
PART = "io.cowpoke.part"
CNI_WAIT = "io.rancher.cni.wait"
CNI_NETWORK = "io.rancher.cni.network"

_NEVER_A_USERS = frozenset({AGENT_ID, PART})


def labels(instance: Instance, facts: Facts) -> Fragment:
    """Return the labels; ours overwrite the user's, because containers are found by them.

    Source: A 5.1 to 5.6, B.2. Two labels of a user are left out: the agent id, by which delegated
        events find their container, and the mark of cowpoke's own containers. Only CNI's network
        services read the MAC label, so only their containers have it. A user may choose another
        network for CNI.
    """
    own = {
        UUID: instance.uuid,
        NAME: instance.name or None,
        IP: instance.primary_address,
        SYSTEM: instance.system_container or None,
        AGENT_ID: instance.agent_id or None,
        **_cni(instance),
    }
    given_labels = instance.fields.labels.items()
    wanted = {name: text for name, text in given_labels if name not in _NEVER_A_USERS}
    return Fragment(config={"Labels": {**wanted, **given(own)}})


def _cni(instance: Instance) -> dict[str, str | None]:
    network = instance.primary_network
    if network.kind != "cni":
        return {}
    return {
        CNI_WAIT: "true",
        CNI_NETWORK: instance.fields.labels.get(CNI_NETWORK) or network.name,
        MAC_ADDRESS: instance.mac_address or None,
    }
