"""Memory of a process that decodes images and trains on a CPU."""

import contextlib
import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of the options of mallopt in glibc's malloc.h."""
_KEPT_BYTES, _LARGEST_BLOCK = 128 << 20, 32 << 20


def keep_freed_memory() -> None:
    """Let this process keep up to 128 MiB of freed memory for its next images and tensors. Numbers do not depend on it.

    By default glibc returns each block of more than 128 KiB to the system when it is freed. The pages of the next image
    then come one by one, as page faults, which take longer than decoding a JPEG of 720×960 pixels. Where there is no
    glibc, nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):  # such as musl, which has no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
