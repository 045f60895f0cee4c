"""How the C library keeps the memory of a bridge, whose threads handle frames of any size."""

import ctypes

#: glibc's parameters of `mallopt`, see its manual page.
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
#: Bytes from which a block has pages of its own, which go back to the system when it is freed.
_OWN_PAGES_BYTES = 256 * 1024
#: Areas for small blocks. By default each thread may get one, and keeps what was freed in it.
_AREAS = 2


def return_freed_memory() -> None:
    """Let large blocks go back to the system when they are freed; nothing without glibc.

    By default glibc raises the threshold with each large block that is freed. Later frames then
    lie in areas that keep their size.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _OWN_PAGES_BYTES)
        mallopt(_M_ARENA_MAX, _AREAS)
