"""What the rig cannot give, in one family: the message says what is missing and how to get it."""


class RigError(RuntimeError):
    """A part that a run stands on is not to be had here."""
