"""The events of a chaos run: random requests for a few instances of every host."""

import random
import threading
import time
import uuid
from collections.abc import Sequence

from simulator import sample
from simulator.chaos.stage import HostParts
from simulator.client import Cattle

INSTANCES_PER_HOST = 4
#: Shorter than cattle's 45 s, so that a run of minutes sees deadlines pass.
TIMEOUT_MS = 30_000
#: How often cattle tries anew before it would give up: longer than any run.
RETRIES = 40
RETRY_AFTER_MS = 500


class EventStream(threading.Thread):
    """Sends events at a mean rate until it is stopped."""

    def __init__(
        self, cattle_url: str, hosts: Sequence[HostParts], image: str, *, seed: int, rate_hz: float
    ) -> None:
        super().__init__(name="events", daemon=True)
        self._cattle_url = cattle_url
        self._hosts = hosts
        self._random = random.Random(seed)  # noqa: S311 -- repeatable, guards nothing
        self._rate_hz = rate_hz
        self._over = threading.Event()
        #: access key -> its instances.
        self.instances = {
            host.access_key: [_instance(number, slot, image) for slot in range(INSTANCES_PER_HOST)]
            for number, host in enumerate(hosts)
        }

    def run(self) -> None:
        """Send until stopped."""
        cattle = Cattle(self._cattle_url)
        try:
            while not self._over.wait(self._random.expovariate(self._rate_hz)):
                host = self._random.choice(self._hosts)
                instance = self._random.choice(self.instances[host.access_key])
                for event in self._wish(instance):
                    send(cattle, event, host.access_key)
        finally:
            cattle.close()

    def stop(self) -> None:
        """Stop sending."""
        self._over.set()
        self.join()

    def _wish(self, instance: sample.Instance) -> list[sample.SampleEvent]:
        """Return random events for an instance; sometimes one twice, or with its opposite."""
        activate = sample.instance_activate(instance)
        deactivate = sample.instance_deactivate(instance, stop_timeout_s=2)
        remove = sample.instance_remove(instance)
        return self._random.choices(
            [
                [activate],
                [sample.image_activate(instance), sample.volume_activate(instance), activate],
                [activate, activate],
                [deactivate],
                [deactivate, activate],
                [deactivate, remove],
            ],
            weights=[6, 2, 1, 3, 1, 3],
        )[0]


def send(cattle: Cattle, event: sample.SampleEvent, access_key: str) -> str:
    """Send an event as cattle does, with replays under new ids; return the first id."""
    return cattle.send(
        event.name,
        event.data,
        resource_type=event.resource_type,
        resource_id=event.resource_id,
        timeout_ms=TIMEOUT_MS,
        retries_new_id=RETRIES,
        backoff_ms=RETRY_AFTER_MS,
        agent=access_key,
    )


def remove_all(cattle: Cattle, stream: EventStream) -> None:
    """Remove every instance, and wait for the replies."""
    ids = [
        send(cattle, sample.instance_remove(instance), access_key)
        for access_key, instances in stream.instances.items()
        for instance in instances
    ]
    deadline_s = time.monotonic() + 2 * TIMEOUT_MS / 1000
    for event_id in ids:
        cattle.wait(event_id, max(deadline_s - time.monotonic(), 0.1))


def probe_instance(image: str) -> sample.Instance:
    """Return a separate instance for the events that measure recovery."""
    return _instance(99, uuid.uuid4().int % 1000, image)


def _instance(host: int, slot: int, image: str) -> sample.Instance:
    return sample.Instance(
        uuid=str(uuid.uuid4()),
        name=f"chaos-{host}-{slot}-{uuid.uuid4().hex[:6]}",
        image=image,
        id=1000 * (host + 1) + slot,
        host_id=host + 1,
    )
