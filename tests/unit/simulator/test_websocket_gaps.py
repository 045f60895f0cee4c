"""What the simulator says of times without a websocket."""

from simulator import websocket_gaps
from simulator.websocket_gaps import WebsocketGaps


def test_overlapping_websockets_have_no_gap_and_others_have(monkeypatch):
    """From the close of the last one to the next one, or to now."""
    now_s = [100.0]
    monkeypatch.setattr(websocket_gaps.time, "monotonic", lambda: now_s[0])
    gaps = WebsocketGaps()
    gaps.opened({5, 6})
    gaps.opened({5})
    gaps.closed({5, 6})
    now_s[0] = 102.5
    assert gaps.snapshot() == {"1a5": [], "1a6": [2.5]}
    gaps.opened({6})
    gaps.closed({5})
    now_s[0] = 103.0
    assert gaps.snapshot() == {"1a5": [0.5], "1a6": [2.5]}
