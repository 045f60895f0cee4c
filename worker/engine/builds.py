"""What we ask of the Engine to build an image, and its output as progress."""

import re
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from worker.engine.client import Call, Engine
from worker.engine.images import ImageName
from worker.engine.json_lines import json_lines
from worker.engine.single_flight import MOST_S, Board
from worker.errors import EngineError, EngineUnavailableError, ImageBuildError

_STEP = re.compile(r"Step (\d+)/(\d+) ")
_SHOWN_LINES = 3
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """The image's name, and the build options that an event may set (A 12.15)."""

    name: ImageName
    dockerfile: str | None = None
    nocache: bool = False
    forcerm: bool = False

    @property
    def params(self) -> dict[str, str]:
        """It as the Engine's parameters; containers in between always go."""
        params = {"t": self.name.reference, "rm": "1"}
        if self.dockerfile:
            params["dockerfile"] = self.dockerfile
        if self.nocache:
            params["nocache"] = "1"
        if self.forcerm:
            params["forcerm"] = "1"
        return params


def build(
    engine: Engine,
    recipe: Recipe,
    origin: str | IO[bytes],
    board: Board,
    *,
    idle_timeout_s: float,
) -> None:
    """Build an image from a git url, which the Engine clones, or from a tar file.

    Errors: ImageBuildError with the build's own words (A 12.16), also when no line comes for
    `idle_timeout_s`; EngineUnavailableError.
    """
    began_s = heard_s = time.monotonic()
    output = _Output()
    try:
        with engine.stream(_call(recipe, origin, idle_timeout_s)) as response:
            for line in json_lines(response):
                heard_s = time.monotonic()
                output.read(line)
                if output.error is not None:
                    break
                if heard_s - began_s > MOST_S:
                    raise ImageBuildError(f"it takes over {MOST_S:g} s")
                if output.text:
                    board.show(output.text, output.percent, is_step=output.is_step)
    except EngineUnavailableError as error:
        if time.monotonic() - heard_s < idle_timeout_s:
            raise
        raise ImageBuildError(f"no output for {idle_timeout_s:g} s") from error
    if output.error is not None:
        raise ImageBuildError(output.error)


def _call(recipe: Recipe, origin: str | IO[bytes], idle_timeout_s: float) -> Call:
    params = recipe.params
    return Call(
        "POST",
        "/build",
        kind="image.build",
        wanted=f"build image {recipe.name}",
        params={**params, "remote": origin} if isinstance(origin, str) else params,
        upload=None if isinstance(origin, str) else origin,
        headers={} if isinstance(origin, str) else {"Content-Type": "application/x-tar"},
        timeout_s=idle_timeout_s,
        refusal=_refusal,
    )


class _Output:
    """What a build has printed so far."""

    def __init__(self) -> None:
        self.text = ""
        self.percent: int | None = None
        self.error: str | None = None
        self.is_step = False
        self._last: deque[str] = deque(maxlen=_SHOWN_LINES)

    def read(self, line: Mapping[str, Any]) -> None:
        detail = line.get("errorDetail")
        words = line.get("error") or (detail.get("message") if isinstance(detail, dict) else None)
        if words:
            said = " / ".join(self._last)
            self.error = f"{words}" + (f" (its last output: {said})" if said else "")
            return
        self.text = str(line.get("stream") or line.get("status") or "").strip()[:_SHOWN_CHARACTERS]
        if self.text and line.get("stream"):
            self._last.append(self.text)
        step = _STEP.match(self.text)
        self.is_step = step is not None
        if step is not None:
            number, total = map(int, step.groups())
            self.percent = 100 * (number - 1) // max(total, 1)


def _refusal(status: int, _words: str) -> type[EngineError] | None:
    # 400, 404 and 500 carry the build's words: no Dockerfile, no such branch.
    return None if status > 500 else ImageBuildError  # noqa: PLR2004 - HTTP's own number
