"""Execute one run: seed, train, evaluate, and write the result."""

from pathlib import Path

import lightning as L
import yaml

from seglab import tracking
from seglab.callbacks import ResumeCheckpoint
from seglab.callbacks.lightning_internals import kill_launched_ranks
from seglab.checkpoints import newest, remove
from seglab.interruption import Interrupted, Interruption
from seglab.module import SegmentationModule
from seglab.networks import weights_summary
from seglab.records import Result, write_json, write_result, write_text
from seglab.running.cost import Spent, forget_peak_memory
from seglab.running.environment import environment
from seglab.running.job import Job
from seglab.running.network import lay_out, translate
from seglab.running.process import run_settings
from seglab.running.profile import Profile, part
from seglab.running.retest import add_shifts
from seglab.running.trained import Trained, write_matrices
from seglab.running.trainer import trainer_of
from seglab.study.identity import check_same


def execute(job: Job, interruption: Interruption) -> Result:
    """Train and evaluate a job.

    An interrupted training continues from its checkpoint. `result.json` is written last, atomically.

    A finished job is not trained again: its last weights are tested under the shifts that its result lacks.

    Raises:
        ValueError: the study's settings differ from the record in its folder.
        Interrupted: this process was asked to stop, and the training has saved its checkpoint.
    """
    if (job.directory / "result.json").exists():
        return add_shifts(job, interruption)
    resources = job.resources
    job.directory.mkdir(parents=True, exist_ok=True)
    if resources.is_first_process:
        _clear(job.directory)
    profile = Profile(resources.on_gpu) if resources.profile and resources.is_first_process else None
    start = newest(job.resume_checkpoint, job.origin)
    forget_peak_memory(resources.on_gpu)
    data = job.seeded_data()
    with run_settings():
        with part(profile, "data cache"):
            data.fill_cache()
        module = _built(job, profile)
        module.check_classes(data.class_names)
        spent = Spent(resources.on_gpu)
        resume = ResumeCheckpoint(job.resume_checkpoint, resources.checkpoint_minutes, interruption)
        with part(profile, "loggers, W&B: start"):
            trainer = trainer_of(job, weights_summary(module.network), [spent, resume], interruption, profile)
        if trainer.is_global_zero:
            write_text(job.directory / "settings.yaml", yaml.safe_dump(job.settings, sort_keys=False, allow_unicode=True))
            write_json(job.directory / "environment.json", environment(resources.on_gpu))
        try:
            with part(profile, "training: start, end"):
                trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
            result = _evaluated(Trained(job, trainer, module, data), spent, profile)
        except Interrupted:
            kill_launched_ranks(trainer)
            raise
        finally:
            with part(profile, "loggers, W&B: end"):
                tracking.finish()
        if trainer.is_global_zero:
            remove(job.resume_checkpoint)
            (job.directory / "failure.json").unlink(missing_ok=True)  # of an earlier attempt
        if profile is not None:
            profile.write(job.directory)
    return result


def _built(job: Job, profile: Profile | None) -> SegmentationModule:
    """Seed all random generators with the run's seed, then build the arm's module and check it against the record."""
    L.seed_everything(job.run.seed, workers=True, verbose=False)
    with part(profile, "network built"):
        module = job.study.factory(job.study.entry(job.run))()
    with part(profile, "settings compared with the record"):
        check_same(job.record, job.study, job.run, job.resources.batch_norm_parts, module)
    with part(profile, "network built"):
        lay_out(module.network, job.study)
        translate(module.network, job.study)
    if profile is not None:
        profile.watch_loss(module.loss)
    module.logs_rows_only = type(module) is SegmentationModule  # a class of the user's own may read the loss of each step
    return module


def _evaluated(trained: Trained, spent: Spent, profile: Profile | None) -> Result:
    """Evaluate a trained network, and write its weights, its confusion matrices and its result."""
    job, trainer = trained.job, trained.trainer
    with part(profile, "test, evaluation on the training split"):
        cost = trained.evaluate(spent)
        matrices = trained.matrices()
    with part(profile, "tests under shifts"):
        result = trained.result(cost, trained.shifted(job.shifts))
    with part(profile, "checkpoint of the weights"):
        trainer.save_checkpoint(job.checkpoints / "last.ckpt", weights_only=True)  # every rank takes part, the first one writes
    if trainer.is_global_zero:
        write_matrices(job.directory / "confusion.npz", matrices)
        write_result(job.directory / "result.json", result)
        confusion = matrices["test"].counts.sum(0) if "test" in matrices else None
        with part(profile, "loggers, W&B: end"):
            tracking.conclude(trainer.loggers, tracking.End(result, confusion), _kept(job))
    return result


def _kept(job: Job) -> tracking.Kept:
    """Return the files of a job to keep at W&B."""
    model = job.checkpoints / "last.ckpt" if job.resources.wandb_model else None
    return tracking.Kept(job.directory, [job.run.arm], model, job.resources.wandb_diff)


def _clear(directory: Path) -> None:
    """Delete the output and the half-written files of an interrupted attempt.

    Keep the checkpoints from which the run resumes.
    """
    patterns = ("checkpoints/last.ckpt", "metrics.csv", "progress.json", "profile.json", "predictions.png", "confusion.npz", "hpc_ckpt_*")
    for pattern in (*patterns, "*.part", "*.part.*", "checkpoints/*.part"):
        for leftover in directory.glob(pattern):
            leftover.unlink(missing_ok=True)
