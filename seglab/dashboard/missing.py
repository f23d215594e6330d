"""Give W&B what no local log of a run holds: rows that an outage or a kill has lost, and the tables and the summary of the end."""

from collections.abc import Sequence
from pathlib import Path

from seglab.dashboard.local import logs_below
from seglab.dashboard.sync import Attempts, read_attempts


def with_missing(attempts: Sequence[Attempts], deleted: Sequence[Path], problems: list[str]) -> list[Attempts]:
    """Log what W&B lacks of finished runs, from their own files, and return all runs with the logs that they have then.

    Args:
        attempts: runs of which a log is not marked as uploaded.
        deleted: folders of runs whose logs were deleted before they were complete.
        problems: gets a line for each run that could not be completed.
    """
    from seglab.tracking import lacks_rows, log_missing  # imports torch

    whole = [one for one in attempts if not lacks_rows(one.run)]
    found = list(whole)
    for run in (*(one.run for one in attempts if one not in whole), *deleted):
        try:
            if lacks_rows(run):  # else another process has just logged them
                log_missing(run)
        except (ValueError, OSError) as error:
            problems.append(str(error))
        found += read_attempts(logs_below(run), problems)[0]
    return found
