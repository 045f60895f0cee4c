"""The status page of a real bridge in a real browser."""

import json
import os
import signal
import socket

import pytest

from cowpoke.outcomes import error, success
from simulator.rig.processes import wait_until
from tests.bridges import ACTIVATE, AGENT, EVENT, HOST
from tests.browser import PHONE

#: A container that somebody named to do harm.
EVIL = "<img src=x onerror=alert(1)>"


def ending(event, _):
    """How events end: as their data say; one that waits does not."""
    if event.data.get("waits"):
        return None
    return error("engine-busy", "the Engine is busy") if event.data.get("fails") else success({})


def complaints(page):
    """What the browser complained about; a stream that ends with its page is no fault."""
    return [one for one in page.problems if not one.startswith("request: ") or "/events" not in one]


class Scene:
    """Bridge, worker, cattle, and what the page shows."""

    def __init__(self, rig):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.rig = rig
        self._numbers = iter(range(100))
        self.worker = rig.start_worker(script=ending)
        self.start_bridge()

    def start_bridge(self):
        """Start a bridge at the port of this scene."""
        self.bridge = self.rig.start_bridge(BRIDGE_HTTP_PORT=str(self.port))
        line = self.bridge.wait_for_line("http.ready", 20)
        self.url = json.loads(line)["address"]
        self.rig.wait_subscribed()

    def send(self, name, **data):
        """Have cattle send an event for a container; its id."""
        instance = {"name": name, "id": 37, "uuid": "u", "image": {"name": "docker:nginx:1.25"}}
        return self.rig.cattle.send(
            ACTIVATE,
            {"instanceHostMap": {"instance": instance}, **data},
            **{**EVENT, "resource_id": f"1ihm{next(self._numbers)}"},
            agent=AGENT["access_key"],
        )

    def end(self, name, **data):
        """Send an event and wait for its end."""
        return self.rig.cattle.wait(self.send(name, **data), 30)


@pytest.fixture
def scene(rig):
    """A system where one event went well, one failed and one is at work."""
    made = Scene(rig)
    made.end("web-1")
    made.end(EVIL, fails=True)
    made.send("slow-1", waits=True)
    wait_until(lambda: len(made.worker.claimed) == 3, 20, "the third event at work")
    return made


def test_page_in_a_browser(scene, browser):
    """Live, by keyboard, over an outage of Redis and of the bridge."""
    page = browser.open(scene.url)
    page.wait_for_text("Live")
    for text in (HOST, "engine-busy", "the Engine is busy", "Nothing needs a person", EVIL):
        page.wait_for_text(text)
    page.wait_for_text("claimed")
    page.screenshot("status-page")
    assert page.evaluate("document.images.length") == 0

    # What somebody types stays when the page changes.
    page.raw.get_by_label("Name or uuid contains").fill("host")
    scene.end("web-2")
    page.wait_for_text("web-2")
    assert page.focused == "host"
    page.press("Enter")
    page.wait_for("location.search === '?host=host'")
    page.wait_for_text("Live")

    # By keyboard: to the content, then the first link or button in it.
    page.goto(scene.url)
    page.press("Tab")
    assert page.focused == "To the content"
    page.press("Enter")
    page.wait_for("document.activeElement.id === 'content'")
    for wanted in ("banner", 'navigation "Sections"', 'heading "Hosts"', "rowheader", "status:"):
        assert wanted in page.outline, page.outline
    assert complaints(page) == []

    # Paused, it stays as it is.
    page.wait_for_text("Live")
    page.raw.get_by_role("button", name="Pause").click()
    page.wait_for_text("Paused")
    scene.end("web-3")
    assert "web-3" not in page.text
    page.raw.get_by_role("button", name="Go on").click()
    page.wait_for_text("web-3")

    os.kill(scene.rig.redis.pid, signal.SIGSTOP)
    try:
        page.wait_for_text("1 problem needs a person")
        page.wait_for_text("Last known state")
    finally:
        os.kill(scene.rig.redis.pid, signal.SIGCONT)
    page.wait_for_text("Nothing needs a person")
    assert complaints(page) == []

    scene.bridge.kill()
    page.wait_for_text("The bridge does not answer")
    scene.start_bridge()
    page.wait_for_text("Live")


def test_page_on_a_phone_and_without_script(scene, browser):
    """Nothing is wider than the screen; the same is there without script, in both colors."""
    phone = browser.open(scene.url, size=PHONE, dark=True)
    phone.wait_for_text("Live")
    for size in (PHONE, (320, 600), (700, 900)):
        phone.set_size(*size)
        assert not phone.overflows, size
    phone.set_size(*PHONE)
    # Cards are rows still.
    assert "rowheader" in phone.outline
    dark = phone.evaluate("getComputedStyle(document.body).backgroundColor")
    phone.screenshot("status-page-phone")
    plain = browser.open(scene.url, script=False)
    assert plain.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    for text in (EVIL, HOST, "Not live without script", "engine-busy", "Nothing needs a person"):
        plain.wait_for_text(text)
    scene.end("web-2", fails=True)
    assert "web-2" not in plain.text

    def again():
        plain.raw.get_by_role("link", name="Load again").click()
        return "web-2" in plain.text

    # Redis is read every 2 s at most.
    wait_until(again, 20, "the next event", interval_s=0.5)
    plain.raw.get_by_label("Name or uuid contains").fill("nothing of ours")
    plain.raw.get_by_role("button", name="Find hosts").click()
    plain.wait_for_text("No host has “nothing of ours” in its name.")
    assert complaints(phone) == complaints(plain) == []
