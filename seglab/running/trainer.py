"""The Lightning trainer of a job: its callbacks, processes, loggers and intervals."""

from collections.abc import Sequence

import lightning as L
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.layer_sync import LayerSync
from lightning.pytorch.strategies import Strategy

from seglab import tracking
from seglab.callbacks import FiniteLoss, PredictionPictures, StepRandomness, Throughput, WeightDiagnostics
from seglab.callbacks.ranks import DDPWithOwnSignals
from seglab.checkpoints import AtomicCheckpoints
from seglab.interruption import Interruption
from seglab.running.job import Job
from seglab.running.network import UntranslatedEvaluation
from seglab.running.profile import Profile
from seglab.running.progress import ProgressFile
from seglab.running.resources import Resources
from seglab.study.identity import planned
from seglab.study.study import Study


def trainer_of(job: Job, weights: str, own: Sequence[Callback], interruption: Interruption, profile: Profile | None = None) -> L.Trainer:
    """Return the trainer of a job.

    Args:
        job: the job.
        weights: origin of the initial weights, in words.
        own: callbacks beside those of every run.
        interruption: its signal handlers stay in place.
        profile: measures where the time goes; None measures nothing.
    """
    study, resources = job.study, job.resources
    resources.check_precision(study, on_gpu=resources.on_gpu)
    return L.Trainer(
        accelerator=resources.accelerator,
        devices=resources.devices,
        num_nodes=resources.num_nodes,
        # in a job of a cluster too: `JobContext` has set the ranks
        plugins=[LightningEnvironment(), AtomicCheckpoints(job.origin, spare=job.resume_checkpoint), *_joint_batch_norm(resources)],
        strategy=_strategy(resources, interruption),
        max_epochs=study.epochs,
        precision=study.precision,
        accumulate_grad_batches=study.accumulate,
        gradient_clip_val=study.gradient_clip,
        check_val_every_n_epoch=_validation_interval(study.epochs),
        deterministic="warn",
        logger=_loggers(job, weights),
        callbacks=[*_callbacks(job), *own, *_diagnostics(job)],
        log_every_n_steps=_log_interval(study),
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        profiler=profile,
        use_distributed_sampler=False,
        default_root_dir=job.directory,
    )


def _callbacks(job: Job) -> list[Callback]:
    is_first_seed = job.run.seed == job.study.seeds[0]
    pictures = PredictionPictures(job.directory, job.study.data.palette, validation=4 if is_first_seed and not job.tuning else 0)
    untranslated = [UntranslatedEvaluation()] if job.study.compile else []
    return [StepRandomness(job.run.seed), FiniteLoss(), Throughput(), ProgressFile(job.directory), pictures, *untranslated]


def _diagnostics(job: Job) -> list[Callback]:
    """Return the callback that measures the weights; none if `--diagnostics` is 0."""
    times = job.resources.diagnostics
    return [WeightDiagnostics(max(1, -(-planned(job.study).steps // times)))] if times > 0 else []


def _loggers(job: Job, weights: str) -> list[Logger] | bool:
    """Return the loggers of the first rank; the other ranks log nothing.

    `weights` tells where the initial weights are from.
    """
    if not job.resources.is_first_process:
        return False
    at = tracking.Circumstances(job.directory, job.command, planned(job.study).steps, weights, job.tuning)
    return list(tracking.loggers(tracking.described(job.record, job.run, at), job.resources.wandb, job.resources.logger))


def _strategy(resources: Resources, interruption: Interruption) -> Strategy | str:
    backend = None if resources.on_gpu else "gloo"
    return DDPWithOwnSignals(interruption.listen_again, backend) if resources.processes > 1 else "auto"


def _joint_batch_norm(resources: Resources) -> list[LayerSync]:
    """Return the plugin that computes batch norm statistics over all processes.

    There is none for one process or with `--sync_batchnorm false`.
    """
    if resources.processes == 1 or not resources.sync_batchnorm:
        return []
    from seglab.networks.batch_norm import JointBatchNorm  # imports timm, for which `--help` must not wait

    return [JointBatchNorm()]


def _validation_interval(epochs: int) -> int:
    """Return the number of epochs between validations: the largest divisor of `epochs` with at least ten validations.

    The last validation follows the last epoch.

    A run of fewer than ten epochs is validated after each.
    """
    return max(interval for interval in range(1, max(1, epochs // 10) + 1) if epochs % interval == 0)


def _log_interval(study: Study) -> int:
    """Return the number of steps from one log row to the next: ten, or the length of an epoch if it is shorter."""
    return max(1, min(10, len(study.data.train_dataloader()) // study.accumulate))
