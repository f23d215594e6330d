"""Checks of the fields that clusters share. No torch."""

import re
from collections.abc import Mapping


def check_least(fields: Mapping[str, tuple[int | None, int]]) -> None:
    """Raise a ValueError for the first field whose value is below its least.

    `fields` holds (value, least) by name; None is allowed.
    """
    for name, (value, least) in fields.items():
        if value is not None and value < least:
            raise ValueError(f"--launcher.{name} {value}: must be {least} or more")


def seconds_of(time: str) -> int:
    """Return the seconds of a time limit `hours:minutes:seconds`; raise a ValueError for any other form."""
    if re.fullmatch(r"\d{1,4}:[0-5]\d:[0-5]\d", time) is None:
        raise ValueError(f"--launcher.time {time}: expected hours:minutes:seconds, as in 12:00:00 (two days are 48:00:00)")
    hours, minutes, seconds = map(int, time.split(":"))
    return 3600 * hours + 60 * minutes + seconds


def check_time(time: str, limit: int, warning: int) -> None:
    """Raise a ValueError if a job of `limit` seconds ends before its `warning`, in seconds before that end."""
    if limit <= warning:
        raise ValueError(f"--launcher.time {time}: must be longer than the --launcher.warning of {warning} seconds before its end")
