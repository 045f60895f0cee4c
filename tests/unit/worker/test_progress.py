"""How progress lines of pulls and builds are read, and when progress is reported.

Row numbers (A, C, W) refer to docs/parity.md.
"""

import itertools
import threading
from functools import partial

import pytest

from worker.engine.json_lines import failure_in
from worker.engine.layers import Layers
from worker.engine.progress import REPEAT_EVERY_S, ProgressReporter
from worker.errors import EngineError
from worker.operations.bounded import reporting


def line(layer, status, current=0, total=0):
    """A progress line of the Engine's."""
    return {
        "id": layer,
        "status": status,
        "progressDetail": {"current": current, "total": total} if total else {},
    }


def percents(*lines):
    """The percentage after each line."""
    layers, seen = Layers(), []
    for one in lines:
        layers.read(one)
        seen.append(layers.percent)
    return seen


# -- layers ----------------------------------------------------------------------------------------


def test_percent_counts_the_bytes_of_all_layers():
    """Downloads are seven tenths of a layer; a large layer weighs more (A 12.8, W 3)."""
    assert percents(
        {"status": "Pulling from team/app", "id": "latest"},
        line("a", "Downloading", 50, 100),
        line("b", "Downloading", 0, 900),
        line("a", "Pull complete"),
        line("b", "Downloading", 450, 900),
        line("b", "Extracting", 450, 900),
    ) == [None, 35, 35, 35, 41, 86]


def test_layer_that_is_here_already_counts_for_nothing():
    """W 3: "Already exists" on the first layer made 100 percent of the whole pull."""
    seen = percents(
        line("base", "Pulling fs layer"),
        line("a", "Pulling fs layer"),
        line("base", "Already exists"),
        *(line("a", "Downloading", done, 1000) for done in range(0, 1001, 100)),
    )
    assert seen[2] == 0
    assert seen[-1] == 70
    assert percents(line("base", "Already exists")) == [None]


def test_percent_never_falls_and_is_100_at_the_end_only():
    """W 3: a large layer that is found late takes nothing back, and all but the end is below."""
    seen = percents(
        line("a", "Downloading", 90, 100),
        line("a", "Pull complete"),
        line("b", "Pulling fs layer"),
        line("b", "Downloading", 1, 100_000),
        line("b", "Pull complete"),
    )
    assert seen == sorted(seen)
    assert seen[-1] == 99


def test_layer_of_unknown_size_counts_as_the_mean():
    """W 3: of four equal layers, one that is done is a quarter."""
    waiting = [line(one, "Pulling fs layer") for one in "abcd"]
    assert (
        percents(*waiting, line("a", "Downloading", 5, 100), line("a", "Pull complete"))[-1] == 25
    )


def test_engine_that_tells_no_sizes_still_advances():
    """W 3: Engines with the containerd image store count seconds of an extraction."""
    seconds = {"id": "a", "status": "Extracting", "progressDetail": {"current": 3, "units": "s"}}
    assert percents(line("a", "Pulling fs layer"), line("b", "Pulling fs layer"), seconds)[-1] == 35


def test_only_what_is_new_counts_as_progress():
    """The same line again is a standstill (C 21)."""
    layers = Layers()
    assert layers.read(line("a", "Downloading", 5, 100))
    assert not layers.read(line("a", "Downloading", 5, 100))
    assert layers.read(line("a", "Downloading", 6, 100))
    assert not layers.read({"no": "status"})
    assert not layers.read({"status": None, "progressDetail": None})


@pytest.mark.parametrize("detail", [None, [], "x", {"current": "x"}, {"current": 5, "total": None}])
def test_odd_details_do_no_harm(detail):
    """A stream is the Engine's; nothing in it may stop a pull."""
    layers = Layers()
    assert layers.read({"id": "a", "status": "Downloading", "progressDetail": detail})
    assert layers.percent == 0


# -- when progress is reported ---------------------------------------------------------------------


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        """Read it, in seconds."""
        return self.now_s


def test_unchanged_progress_is_repeated_while_the_work_moves():
    """W 3: cattle extends its 45 s only on progress, whatever the percentage is."""
    clock, told = Clock(), []
    report = ProgressReporter(lambda *said: told.append((clock.now_s, *said)), clock)
    for _ in range(300):
        report("Downloading", 12)
        clock.now_s += 0.1
    times = [at for at, *_ in told]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert {tuple(said) for _, *said in told} == {("Downloading", 12)}
    assert len(told) == 10
    assert all(REPEAT_EVERY_S <= gap < 10 for gap in gaps)


def test_reported_percent_never_falls_and_ends_at_100():
    """W 3: also when another worker begins the pull anew, or a second try has no credential."""
    told = []
    report = ProgressReporter(lambda *said: told.append(said), Clock())
    for text, percent in [("a", None), ("b", 40), ("c", None), ("d", 10), ("e", 99)]:
        report(text, percent)
    report.finish()
    assert told == [("a", None), ("b", 40), ("c", 40), ("d", 40), ("e", 99), ("e", 100)]


def test_work_that_never_moved_is_not_reported_at_its_end():
    """W 3: an image that is here already has no progress."""
    told = []
    ProgressReporter(lambda *said: told.append(said)).finish()
    assert told == []


# -- bounded calls ---------------------------------------------------------------------------------


def test_call_within_its_own_time_is_reported_regularly():
    """W 3: a stop that waits for its container is no hung Engine."""
    over, told = threading.Event(), []

    def report(*said):
        told.append(said)
        if len(told) == 3:
            over.set()

    assert reporting(partial(over.wait, 30), report, "stopping", bound_s=30, every_s=0.02)
    assert told == [("stopping", None)] * 3


def test_call_beyond_its_own_time_is_silent():
    """W 3: then it is the Engine that hangs, and cattle's call must end."""
    told, silence = [], threading.Event()

    def call():
        silence.wait(0.2 + 0.3)
        at_the_bound = len(told)
        silence.wait(0.5)
        return at_the_bound

    reported = reporting(call, lambda *said: told.append(said), "x", bound_s=0.2, every_s=0.02)
    assert reported == len(told) > 0


def test_error_of_a_bounded_call_reaches_the_caller():
    """Also when the call is short and needs no thread."""
    for bound_s in (0, 30):
        with pytest.raises(EngineError, match="no"):
            reporting(partial(fail, EngineError("no")), print, "x", bound_s=bound_s)


def fail(error):
    """Raise an error."""
    raise error


# -- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"error": "manifest unknown"}, "manifest unknown"),
        ({"errorDetail": {"code": 429, "message": "toomanyrequests"}}, "toomanyrequests"),
        ({"error": "", "errorDetail": {"message": "denied"}}, "denied"),
        ({"error": None, "errorDetail": {"message": " denied "}}, "denied"),
        ({"error": "short", "errorDetail": {"message": "long"}}, "short"),
        ({"errorDetail": "denied"}, "denied"),
        ({"errorDetail": {"code": 1}}, 'the Docker Engine gave no reason: {"code": 1}'),
        ({"error": {"a": 1}}, 'the Docker Engine gave no reason: {"a": 1}'),
        ({"status": "Downloading"}, None),
        ({"error": ""}, None),
        ({"errorDetail": {}}, None),
        ({"errorDetail": None, "stream": "Step 1/2"}, None),
    ],
)
def test_reason_of_a_failure_is_read_wherever_it_is(said, reason):
    """W 20: `error` is deprecated; newer Engines may tell the reason in `errorDetail` alone."""
    assert failure_in(said) == reason


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([line("a", "Downloading", 30, 100), line("a", "Downloading", 60, 100)], 60),
        ([line("a", "Downloading", 60, 100), line("a", "Download complete")], 100),
        ([line("a", "Pulling fs layer"), line("a", "Extracting", 10, 100)], 100),
        ([line("a", "Downloading", 60, 100), line("b", "Downloading", 7, 10)], 67),
        ([line("a", "Downloading", 60, 100), line("a", "Already exists")], 0),
        ([line("a", "Waiting")], 0),
    ],
)
def test_downloaded_bytes_are_those_of_layers_that_were_pulled(lines, expected):
    """As far as the Engine says; a layer that is extracted was downloaded whole."""
    layers = Layers()
    for one in lines:
        layers.read(one)
    assert layers.downloaded_bytes == expected
