"""Fault injection of the simulated server; without faults it acts like a healthy cattle."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Knobs(BaseModel):
    """The active faults. Publish faults hit the next `publish_status_count` posts, or all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accept_but_hang: bool = Field(
        default=False, description="half-open: no heartbeat, no delivery, no pong, no close"
    )
    refuse_subscribe_status: int | None = Field(None, ge=400, le=599)
    send_twice: bool = Field(default=False, description="every event frame goes out twice")
    cut_frame: int = Field(0, ge=0, description="how many of the next event frames are truncated")
    delay_frames_ms: float = Field(0, ge=0)
    delay_publish_ms: float = Field(0, ge=0)
    publish_status: int | None = Field(None, ge=400, le=599)
    publish_over_bytes: int = Field(
        0, ge=0, description="the publish faults hit only larger bodies, as a proxy's limit does"
    )
    publish_hang: bool = Field(default=False, description="never answer a post while this is on")
    publish_reset: bool = Field(default=False, description="cut the connection, drop the reply")
    publish_lost_201: bool = Field(
        default=False, description="take the reply, cut the connection instead of the 201"
    )
    publish_status_count: int | None = Field(None, ge=0, description="null hits every post")
    containerevents_status: int | None = Field(
        None, ge=400, le=599, description="refuse every container event with this status"
    )


class Faults:
    """The active knobs, and the asyncio events that changes of them trigger."""

    def __init__(self) -> None:
        self.knobs = Knobs()
        self._changed = asyncio.Event()

    def turn(self, changes: dict[str, Any]) -> Knobs:
        """Set the given knobs; keep the others.

        Errors: pydantic.ValidationError names the unknown knob or invalid value.
        """
        self.knobs = Knobs.model_validate({**self.knobs.model_dump(), **changes})
        self._wake()
        return self.knobs

    def clear(self) -> None:
        """Turn all faults off; hanging posts continue."""
        self.knobs = Knobs()
        self._wake()

    def cuts_next_frame(self) -> bool:
        """Return whether to truncate this event frame, and count down."""
        left = self.knobs.cut_frame
        if left:
            self.knobs = self.knobs.model_copy(update={"cut_frame": left - 1})
        return left > 0

    def hits_publish(self, size_bytes: int = 0) -> bool:
        """Return whether a publish fault hits a post of this size, and count down."""
        knobs = self.knobs
        if 0 < size_bytes <= knobs.publish_over_bytes:
            return False
        broken = (
            knobs.publish_status is not None
            or knobs.publish_hang
            or knobs.publish_reset
            or knobs.publish_lost_201
        )
        if not broken or knobs.publish_status_count is None:
            return broken
        if knobs.publish_status_count == 0:
            return False
        left = knobs.publish_status_count - 1
        self.knobs = knobs.model_copy(update={"publish_status_count": left})
        return True

    async def hang_ends(self) -> None:
        """Wait until `publish_hang` is turned off."""
        while self.knobs.publish_hang:
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
