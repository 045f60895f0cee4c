"""Errors of the rig: the message says what is missing and how to get it."""


class RigError(RuntimeError):
    """A part that a run needs is not available."""
