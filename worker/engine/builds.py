"""The call to the Engine that builds an image, and its output as progress.

Row numbers (A) refer to docs/parity.md.
"""

import re
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from cowpoke.scrubbing import clipped
from worker.engine.client import Call, Engine
from worker.engine.json_lines import failure_in, json_lines
from worker.engine.layers import Layers
from worker.engine.single_flight import MOST_S, SharedProgress
from worker.errors import EngineError, EngineUnavailableError, ImageBuildError
from worker.image_reference import ImageReference

_STEP = re.compile(r"Step (\d+)/(\d+) ")
_SHOWN_LINES = 3
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """The name of the image, and the build options that an event may set (A 12.15)."""

    name: ImageReference
    dockerfile: str | None = None
    nocache: bool = False
    forcerm: bool = False

    @property
    def params(self) -> dict[str, str]:
        """The query parameters of the call; intermediate containers are always removed."""
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
    progress: SharedProgress,
    *,
    idle_timeout_s: float,
) -> None:
    """Build an image from a git URL, which the Engine clones, or from a tar file.

    Errors: ImageBuildError with the message of the build (A 12.16), also after `idle_timeout_s`
    without output; EngineUnavailableError.
    """
    began_s = heard_s = time.monotonic()
    output = _Output()
    silent = f"no output for {idle_timeout_s:g} s"
    try:
        with engine.stream(_call(recipe, origin, idle_timeout_s)) as response:
            for line in json_lines(response):
                now_s = time.monotonic()
                if output.read(line):
                    heard_s = now_s
                    progress.report(output.text, output.percent, is_step=output.is_step)
                if output.error is not None:
                    break
                if now_s - began_s > MOST_S:
                    raise ImageBuildError(f"not done after {MOST_S:g} s")
                if now_s - heard_s >= idle_timeout_s:
                    raise ImageBuildError(silent)
    except EngineUnavailableError as error:
        if time.monotonic() - heard_s < idle_timeout_s:
            raise
        raise ImageBuildError(silent) from error
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
    """The output of a build so far."""

    def __init__(self) -> None:
        self.text = ""
        self.percent: int | None = None
        self.error: str | None = None
        self.is_step = False
        self._last: deque[str] = deque(maxlen=_SHOWN_LINES)
        #: The base image that the build pulls.
        self._base = Layers()

    def read(self, line: Mapping[str, Any]) -> bool:
        """Read one line; return whether the build moved: output, or bytes of its base image."""
        reason = failure_in(line)
        if reason is not None:
            output = " / ".join(self._last)
            self.error = reason + (f" (last output: {output})" if output else "")
            return False
        if not line.get("stream"):
            self.is_step = False
            if not self._base.read(line):
                return False
            self.text = clipped(self._base.text, _SHOWN_CHARACTERS)
            return True
        if text := clipped(str(line["stream"]).strip(), _SHOWN_CHARACTERS):
            self.text = text
            self._last.append(text)
        step = _STEP.match(text)
        self.is_step = step is not None
        if step is not None:
            number, total = map(int, step.groups())
            self.percent = 100 * (number - 1) // max(total, 1)
        return True


def _refusal(status: int, _words: str) -> type[EngineError] | None:
    # 400, 404 and 500 contain the reason, such as a missing Dockerfile or branch.
    return None if status > 500 else ImageBuildError  # noqa: PLR2004 - HTTP's own number
