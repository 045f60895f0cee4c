"""The keys of this host's agent on this host: sealed, mode 0600, read by `join` and `leave` alone.

The file contains the same sealed note that Redis has. Without the file nothing is lost: the
register key gives the same keys again.
"""

from dataclasses import dataclass
from pathlib import Path

from cowpoke.envelopes import UnknownVersionError
from cowpoke.joined import JoinedAgent, opened_note, sealed_note
from cowpoke.seal import SealBrokenError, Sealer
from worker.errors import JoinError
from worker.host.files import write_whole


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptKeys:
    """Reads and writes the file."""

    path: Path
    sealer: Sealer
    host_uuid: str

    @property
    def exist(self) -> bool:
        """Whether this host joined and did not leave; its keys may be unreadable."""
        return self.path.exists()

    def read(self) -> JoinedAgent | None:
        """Return the kept agent; None if there is none, or if our key does not open it.

        Errors: JoinError when the file cannot be read.
        """
        try:
            text = self.path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise JoinError(f"cannot read {self.path}: {error}") from None
        try:
            return opened_note(self.sealer, text, host_uuid=self.host_uuid)
        except (SealBrokenError, UnknownVersionError):
            return None

    def write(self, agent: JoinedAgent) -> None:
        """Keep an agent.

        Errors: JoinError.
        """
        try:
            write_whole(self.path, f"{sealed_note(self.sealer, agent)}\n")
        except ValueError as error:
            raise JoinError(f"the server gave keys that cannot be used: {error}") from None
        except OSError as error:
            raise JoinError(f"cannot store the keys in {self.path}: {error.strerror}") from None

    def forget(self) -> None:
        """Remove the file.

        Errors: JoinError.
        """
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise JoinError(f"cannot remove {self.path}: {error.strerror}") from None
