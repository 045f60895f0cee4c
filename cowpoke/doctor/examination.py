"""Runs the parts of the doctor, one after the other; a part that crashes is a finding too."""

from collections.abc import Callable, Collection, Iterator, Mapping

from cowpoke import distribution
from cowpoke.doctor.finding import Examine, Finding, Part
from cowpoke.doctor.redis_part import examine_redis
from cowpoke.environment import unknown_given


def parts() -> Mapping[str, Callable[[], Examine]]:
    """Return what loads each part, by name; those of the programs last."""
    points = distribution.doctor_parts()
    return {"redis": lambda: examine_redis, **{name: points[name].load for name in sorted(points)}}


def examine(chosen: Collection[str] = ()) -> Iterator[Finding]:
    """Yield all findings; `chosen` limits them to these parts."""
    yield from _variables()
    for name, load in parts().items():
        if chosen and name not in chosen:
            continue
        try:
            yield from load()(asked=name in chosen)
        except Exception as error:  # noqa: BLE001 -- the other parts are looked at all the same
            # Not its text, which may contain anything.
            yield Part(name).problem(
                "doctor",
                f"this part could not be looked at: an unforeseen {type(error).__name__}",
                advice="report it as a defect of cowpoke",
            )


def _variables() -> Iterator[Finding]:
    part = Part("settings")
    found = unknown_given()
    for one in found:
        yield part.note("variables", f"{one.name} is no setting", advice=one.advice)
    if not found:
        yield part.good("variables", "no variable is misspelt")
