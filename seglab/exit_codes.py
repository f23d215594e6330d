"""Exit codes of seglab's commands."""

DONE = 0

FAILED = 1
"""A run failed; the others are done."""

BAD_INPUT = 2
"""The command line, the script or the data cannot be used; one line on stderr says why."""

ELSEWHERE = 3
"""No run failed, but other processes still work on some; `run --wait` waits for them."""

INTERNAL = 70
"""seglab itself failed; one line on stderr names the file with the traceback. It is the value of EX_SOFTWARE in
sysexits.h.
"""

INTERRUPTED = 75
"""The process was asked to stop; the same command goes on. It is the value of EX_TEMPFAIL in sysexits.h."""
