"""Ask the W&B server which runs it has."""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from seglab.wandb_variables import check_wandb_variables

ANSWER_SECONDS = 20
"""Longest wait for an answer of the server."""

_AT_ONCE = 100
"""Number of runs in one question."""


class NotLoggedIn(ValueError):  # noqa: N818 - a state of the user, and often no error
    """Nobody is logged in to W&B on this machine."""


@dataclass(frozen=True)
class ServedRun:
    """A run as the server has it."""

    rows: int
    has_ended: bool
    """True if the server has got the run's exit code."""


class Server:
    """The W&B server that this user is logged in to.

    Raises:
        NotLoggedIn: there is no key.
        ValueError: W&B does not take an environment variable or the key, or the server does not answer.
    """

    def __init__(self) -> None:
        check_wandb_variables()
        os.environ["WANDB_SILENT"] = "true"  # W&B would ask for a key, and wait
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # the client's reports about itself print lines when they fail
        import wandb

        self.address = os.environ.get("WANDB_BASE_URL") or str(wandb.Settings().base_url)
        try:
            self._api: Any = wandb.Api(timeout=ANSWER_SECONDS)
            self.address = str(self._api.settings["base_url"])
            self.entity = str(self._api.default_entity)
        except wandb.errors.UsageError:
            raise NotLoggedIn(
                "nobody is logged in to Weights & Biases on this machine: call `wandb login`, or set WANDB_API_KEY, then repeat the command"
            ) from None
        except wandb.errors.Error as error:
            reason = _reason(error)
            if "did not respond" in reason or "Failed to execute" in reason:
                reason = f"no answer within {ANSWER_SECONDS} s"
            raise ValueError(
                f"{self.address}: W&B cannot be used ({reason}): check the network, the key, and WANDB_BASE_URL, then repeat the command"
            ) from None

    def runs(self, entity: str, project: str, ids: Collection[str]) -> Mapping[str, ServedRun]:
        """Return those runs of a project that the server has, by their ids.

        Args:
            entity: empty for the default entity.
            project: the project.
            ids: ids of runs.

        Raises:
            ValueError: the server does not answer.
        """
        return {
            run.id: ServedRun(int(run.historyLineCount or 0), run.state not in ("running", "pending"))
            for run in self._found(entity, project, ids)
        }

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turn an error of the server or of the network within this context into a ValueError."""
        from wandb.errors import Error
        from wandb.sdk.lib.service.service_connection import WandbApiFailedError  # the one error of wandb's own requests that is no `Error`

        try:
            yield
        except (Error, WandbApiFailedError, TimeoutError) as error:  # TimeoutError: an upload that does not end
            raise ValueError(f"{self.address}: W&B does not do what it was asked ({_reason(error)}); repeat the command later") from None

    def _found(self, entity: str, project: str, ids: Collection[str]) -> Iterator[Any]:
        wanted = sorted(ids)
        place = f"{entity or self.entity}/{project}"
        self._api.flush()  # it keeps answers
        with self.answering():
            try:
                for start in range(0, len(wanted), _AT_ONCE):
                    some = wanted[start : start + _AT_ONCE]
                    yield from self._api.runs(place, filters={"name": {"$in": some}}, per_page=_AT_ONCE)
            except ValueError as error:  # the project is made by its first run
                if "Could not find project" not in str(error):
                    raise


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())
