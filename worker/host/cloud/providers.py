"""How each cloud tells a machine where it is.

The old agent knew aws and aliyun; the others are ours. Each is recognized by an answer that no
other cloud gives: several have the same address.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from worker.host.cloud.metadata import Metadata, NoAnswerError

PROVIDER_LABEL = "io.rancher.host.provider"
REGION_LABEL = "io.rancher.host.region"
ZONE_LABEL = "io.rancher.host.zone"
#: How often each is asked, at most.
ROUNDS = 6
_ALIYUN_ROUNDS = 2
#: How long a token of version 2 is good for, as the header wants it.
_VALID_S = "60"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a machine is; empty where the cloud does not say."""

    region: str = ""
    zone: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """A cloud and its question."""

    name: str
    #: Errors: NoAnswerError; ValueError, KeyError and TypeError for an answer of another shape.
    ask: Callable[[Metadata], Place]
    rounds: int = ROUNDS
    is_aliyun: bool = False

    def labels(self, place: Place) -> dict[str, str]:
        """Return the labels of a machine there."""
        found = {PROVIDER_LABEL: self.name, REGION_LABEL: place.region, ZONE_LABEL: place.zone}
        return {name: text for name, text in found.items() if text}


def _aws(service: Metadata) -> Place:
    headers = {}
    try:
        # Version 2 of the service, which many machines demand, wants a token first.
        asked = {"X-aws-ec2-metadata-token-ttl-seconds": _VALID_S}
        token = service.get("/latest/api/token", asked, method="PUT").text
        headers = {"X-aws-ec2-metadata-token": token}
    except NoAnswerError:  # version 1 has none
        pass
    found = _json(service, "/latest/dynamic/instance-identity/document", headers)
    return Place(_text(found["region"]), _text(found["availabilityZone"]))


def _aliyun(service: Metadata) -> Place:
    zone = service.get("/latest/meta-data/zone-id").text
    return Place(_text(service.get("/latest/meta-data/region-id").text), _text(zone))


def _azure(service: Metadata) -> Place:
    path = "/metadata/instance/compute?api-version=2021-02-01"
    found = _json(service, path, {"Metadata": "true"})
    zone = found.get("zone")
    return Place(_text(found["location"]), zone if isinstance(zone, str) else "")


def _gcp(service: Metadata) -> Place:
    headers = {"Metadata-Flavor": "Google", "Host": "metadata.google.internal"}
    answer = service.get("/computeMetadata/v1/instance/zone", headers)
    if answer.headers.get("metadata-flavor") != "Google":
        raise NoAnswerError("the answer is not Google's")
    zone = _text(answer.text.rpartition("/")[2])  # projects/1234/zones/europe-west1-b
    return Place(zone.rpartition("-")[0], zone)


def _openstack(service: Metadata) -> Place:
    found = _json(service, "/openstack/latest/meta_data.json", {})
    _text(found["uuid"])
    zone = found.get("availability_zone")
    return Place("", zone if isinstance(zone, str) else "")


def _digitalocean(service: Metadata) -> Place:
    found = _json(service, "/metadata/v1.json", {})
    if not isinstance(found["droplet_id"], int):
        raise TypeError("droplet_id is no number")
    return Place(_text(found["region"]))


#: In the order in which they are believed when several answer.
PROVIDERS = (
    Provider(name="aws", ask=_aws),
    Provider(name="aliyun", ask=_aliyun, rounds=_ALIYUN_ROUNDS, is_aliyun=True),
    Provider(name="azure", ask=_azure),
    Provider(name="gcp", ask=_gcp),
    Provider(name="digitalocean", ask=_digitalocean),
    Provider(name="openstack", ask=_openstack),
)


def _json(service: Metadata, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    found = json.loads(service.get(path, headers).text)
    if not isinstance(found, dict):
        raise TypeError("the answer is no JSON object")
    return found


def _text(found: object) -> str:
    """Errors: ValueError for anything but one word, such as a page that says who is served."""
    if not isinstance(found, str) or len(found.split()) != 1 or len(found) > 100:  # noqa: PLR2004
        raise ValueError("wanted one word")
    return found.strip()
