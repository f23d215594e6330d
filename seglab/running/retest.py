"""Evaluating the weights of a finished run again."""

import logging
from collections.abc import Mapping
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from seglab import tracking
from seglab.callbacks import ResumeCheckpoint
from seglab.interruption import Interruption
from seglab.records import Result, read_result, write_result
from seglab.running.job import EvaluatedSplit, Job
from seglab.running.network import lay_out
from seglab.running.process import run_settings
from seglab.running.trained import Trained, with_shifts
from seglab.study.identity import check_same

log = logging.getLogger("seglab")


def recorded(job: Job) -> Result:
    """Return the result of a job.

    Raises:
        ValueError: the job has no result yet, or it is damaged.
    """
    path = job.directory / "result.json"
    if not path.exists():
        raise ValueError(f"{job.directory}: has no result.json; `run` trains and tests this run")
    return read_result(path)


def retest(job: Job, split: EvaluatedSplit) -> Mapping[str, float]:
    """Evaluate the last weights of a finished job on a split, and return the mean scores by name. Write nothing.

    Raises:
        ValueError: the file of the weights is missing, or script, data or code have changed since the training.
    """
    with run_settings():
        trained = _trained(job, [])
        evaluate = trained.trainer.test if split == "test" else trained.trainer.validate
        evaluate(trained.module, datamodule=trained.data, verbose=False)
        return {name: float(value) for name, value in trained.module.scores(split).mean.items()}


def add_shifts(job: Job, interruption: Interruption) -> Result:
    """Test a finished job's last weights, in one process, under the shifts that its result lacks.

    The scores are added to the result.

    Args:
        job: the job.
        interruption: stops this process at once; its signal handlers stay in place.

    Raises:
        ValueError: the file of the weights is missing, the result is damaged or of other settings, or script, data or
            code have changed since the training.
    """
    result = recorded(job)
    if not job.lacking_shifts or not job.resources.is_first_process:
        return result
    if result.identity != job.identity:
        raise ValueError(
            f"{job.directory}: its result was made with other settings than those of study.json, so that no score under a shift can join it: "
            "move the folder of the run away, and `run` repeats it"
        )
    with run_settings():
        handlers = ResumeCheckpoint(job.resume_checkpoint, job.resources.checkpoint_minutes, interruption)
        shifted = _trained(job, [handlers]).shifted(job.lacking_shifts)
    result = with_shifts(result, shifted, job.record.shifts)
    tracking.expect_scores(job.directory)
    write_result(job.directory / "result.json", result)
    if tracking.resolved_mode(job.resources.wandb) == "online":
        _log_scores(job.directory)
    (job.directory / "failure.json").unlink(missing_ok=True)  # of an earlier attempt
    return result


def _log_scores(directory: Path) -> None:
    """Give new scores to W&B. If that fails, `seglab sync` does it later, and `run` says so at its end."""
    try:
        tracking.log_scores(directory)
    except Exception as error:  # noqa: BLE001 - whatever W&B raises, the result stands
        log.warning("W&B has not got the new scores of this run (%s): `seglab sync` uploads them later", " ".join(str(error).split()))
    finally:
        tracking.finish()


def _trained(job: Job, callbacks: list[Callback]) -> Trained:
    """Return a finished job with its last weights, on one device, under a trainer with these callbacks.

    Raises:
        ValueError: the file of the weights is missing, or script, data or code have changed since the training.
    """
    weights = job.checkpoints / "last.ckpt"
    if not weights.is_file():
        raise ValueError(f"{weights}: no such file; it holds the weights of a finished run")
    data = job.seeded_data()
    check_same(job.record, job.study, job.run, job.resources.batch_norm_parts)
    L.seed_everything(job.run.seed, workers=True, verbose=False)
    module = job.study.factory(job.study.entry(job.run))()
    lay_out(module.network, job.study)
    if job.study.precision == "64-true":
        module.double()  # loading rounds weights to those of the module
    module.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True)["state_dict"])
    trainer = L.Trainer(
        accelerator=job.resources.accelerator,
        devices=1,
        precision=job.study.precision,
        deterministic="warn",
        logger=False,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.datamodule = data  # type: ignore[attr-defined] # as after a training: the module reads its windows and its class names
    return Trained(job, trainer, module, data)
