"""Figures of a lane: what is sealed is read again, and nothing else is."""

from dataclasses import replace

import pytest
from cryptography.fernet import Fernet

from cowpoke.figures import (
    BUCKETS_S,
    Durations,
    EngineState,
    LaneFigures,
    PullFigures,
    opened_figures,
    sealed_figures,
)
from cowpoke.seal import SealBrokenError, Sealer

PLACE = {"host_uuid": "h-1", "worker_id": "w-1"}
FIGURES = LaneFigures(
    lane="images",
    started_ms=1_000,
    engine=EngineState(reachable=False, since_ms=5, version="28.5", api_version="1.51", reason="x"),
    calls={"pull": Durations().plus(3.2, is_error=False).plus(1000.0, is_error=True)},
    pulls=PullFigures(count=2, errors=1, bytes=10**12),
)


@pytest.fixture
def sealer():
    """The key of the host."""
    return Sealer(Fernet.generate_key().decode())


def test_what_is_sealed_is_read_again(sealer):
    """With all numbers."""
    text = sealed_figures(sealer, FIGURES, **PLACE)
    assert opened_figures(sealer, text, lane="images", **PLACE) == FIGURES
    plain = LaneFigures(lane="compute")
    text = sealed_figures(sealer, plain, **PLACE)
    assert opened_figures(sealer, text, lane="compute", **PLACE) == plain


def test_durations_are_counted_in_buckets():
    """Each call in one of them; the limit belongs to the bucket below."""
    found = Durations()
    for seconds in (0.0, 0.01, 0.011, 300.0, 301.0):
        found = found.plus(seconds, is_error=seconds > 300)
    assert (found.count, found.errors, found.seconds) == (5, 1, pytest.approx(601.021))
    assert (found.buckets[0], found.buckets[1]) == (2, 1)
    assert found.buckets[-2:] == (1, 1)
    assert len(found.buckets) == len(BUCKETS_S) + 1


@pytest.mark.parametrize(
    "other", [{"host_uuid": "h-2"}, {"worker_id": "w-2"}, {"lane": "compute"}], ids=str
)
def test_figures_of_another_place_are_refused(sealer, other):
    """Whoever writes to Redis may copy them."""
    text = sealed_figures(sealer, FIGURES, **PLACE)
    with pytest.raises(SealBrokenError):
        opened_figures(sealer, text, **{**PLACE, "lane": "images", **other})


@pytest.mark.parametrize(
    "change",
    [
        {"calls": {"pull": [1, 0, 0.5]}},
        {"calls": {"pull": [-1, 0, 0.5, []]}},
        {"calls": {"pull": [1, 0, "x", []]}},
        {"calls": {"pull": [1, 0, -1, []]}},
        {"calls": {"pull": 1}},
        {"pulls": [1]},
        {"pulls": [10**30, 0, 0]},
        {"engine": []},
        {"engine": {"reachable": True, "version": "x" * 1000}},
        {"lane": None},
    ],
    ids=str,
)
def test_malformed_figures_are_refused(sealer, change):
    """A worker of this host may write anything."""
    content = sealer.open(sealed_figures(sealer, FIGURES, **PLACE)) | change
    with pytest.raises(SealBrokenError):
        opened_figures(sealer, sealer.seal(content), lane="images", **PLACE)


def test_later_releases_may_add_keys_groups_and_buckets(sealer):
    """Unknown keys and groups are skipped; with other buckets the sums are kept."""
    content = sealer.open(sealed_figures(sealer, FIGURES, **PLACE))
    content |= {"later": 1, "calls": {"later": [1, 0, 0.5, [1]], "pull": [7, 1, 2.5, [3, 4]]}}
    found = opened_figures(sealer, sealer.seal(content), lane="images", **PLACE)
    (pulls,) = found.calls.values()
    assert (pulls.count, pulls.errors, pulls.seconds, sum(pulls.buckets)) == (7, 1, 2.5, 7)
    assert replace(found, calls={}) == replace(FIGURES, calls={})
