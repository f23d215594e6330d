"""Give W&B what no local log of a run holds: rows that an outage or a kill has lost, and the tables and the summary of the end."""

from collections.abc import Sequence

from seglab.dashboard.local import logs_below
from seglab.dashboard.sync import Attempts, read_attempts


def with_missing(attempts: Sequence[Attempts], problems: list[str]) -> list[Attempts]:
    """Log what W&B lacks of finished runs, from their own files, and return all runs with the logs that they have then.

    Args:
        attempts: runs of which a log is not marked as uploaded.
        problems: gets a line for each run that could not be completed.
    """
    from seglab.tracking import lacks_rows, log_missing  # imports torch

    found: list[Attempts] = []
    for one in attempts:
        if not lacks_rows(one.run):
            found.append(one)
            continue
        try:
            log_missing(one.run)
        except (ValueError, OSError) as error:
            problems.append(str(error))
        found += read_attempts(logs_below(one.run), problems)[0]
    return found
