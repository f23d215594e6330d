"""One run, from its seed to its result."""

import contextlib
import json
import logging
import os
import platform
import signal
import subprocess
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
import yaml
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from numpy.typing import NDArray
from typing_extensions import override

import seglab
from seglab import tracking
from seglab.callbacks import FiniteLoss, PredictionPictures, ResumeCheckpoint, StepRandomness, Throughput, WeightDiagnostics
from seglab.checkpoints import AtomicCheckpoints, newest, remove
from seglab.data import SegmentationDataModule
from seglab.interruption import Interrupted, Interruption
from seglab.metrics import Scores
from seglab.module import SegmentationModule, Split
from seglab.records import Result, Run, StudyRecord, identity, write_json, write_result, write_text
from seglab.running.cost import Spent, cost, forget_peak_memory
from seglab.study.identity import check_same, planned
from seglab.study.study import Study

Accelerator = Literal["auto", "cpu", "gpu"]

Matrices = tuple[list[str], NDArray[np.int64]]
"""Names of N images, and their confusion matrices (N,C,C), truth × prediction."""


@dataclass(frozen=True)
class Resources:
    """What a run computes on. Without `sync_batchnorm` the number of devices changes its scores; nothing else does."""

    devices: int = 1
    """Of each node."""
    accelerator: Accelerator = "auto"
    wandb: tracking.WandbMode = "auto"
    diagnostics: int = 20
    """How often in a run the weights of each stage are looked at, about; 0 is never."""
    checkpoint_minutes: float = 10.0
    """From one checkpoint of a training to the next; an interrupted run goes on from the last. 0 is before every step."""
    num_nodes: int = 1
    """Machines of one run."""
    sync_batchnorm: bool = True
    """Whether batch norm takes its statistics over the whole batch, on however many devices that lies."""

    @property
    def processes(self) -> int:
        """Of one run."""
        return self.devices * self.num_nodes

    @property
    def batch_norm_parts(self) -> int:
        """Into how many parts batch norm divides a batch."""
        return 1 if self.sync_batchnorm else self.processes

    @property
    def is_first_process(self) -> bool:
        """Whether this process has rank 0 of its run. Lightning or, on several nodes, `JobContext.ranks` has numbered the processes."""
        return all(int(os.environ.get(name, 0)) == 0 for name in ("LOCAL_RANK", "NODE_RANK"))

    @property
    def on_gpu(self) -> bool:
        """Whether runs compute on CUDA devices."""
        return self.accelerator != "cpu" and torch.cuda.is_available()

    @property
    def machine_flags(self) -> list[str]:
        """What a run computes on, where it is not the default."""
        given = {
            "--devices": (str(self.devices), "1"),
            "--num-nodes": (str(self.num_nodes), "1"),
            "--sync-batchnorm": (str(self.sync_batchnorm).lower(), "true"),
            "--accelerator": (self.accelerator, "auto"),
        }
        return [word for flag, (value, default) in given.items() if value != default for word in (flag, value)]

    @property
    def flags(self) -> list[str]:
        """Those that change no number, for the command of another process that works on the same runs."""
        return ["--wandb", self.wandb, "--diagnostics", str(self.diagnostics), "--checkpoint-minutes", str(self.checkpoint_minutes)]


def execute(
    study: Study,
    run: Run,
    folder: Path,
    record: StudyRecord,
    command: Sequence[str],
    resources: Resources,
    interruption: Interruption,
    test: bool = True,
) -> Result:
    """Train and test one arm under one seed; `result.json` appears last, and whole. Without `test`, its scores are of `val` alone.

    Seed first, build second: the arm's factory is called when all generators stand at the run's seed. A training that was interrupted
    goes on from its last checkpoint.
    """
    directory = run.directory(folder)
    directory.mkdir(parents=True, exist_ok=True)
    tracking.show_log()
    if resources.is_first_process:
        _clear(directory)
    hash_of_run, resumed = identity(record, run), directory / "checkpoints" / "resume.ckpt"
    start = newest(resumed, hash_of_run)
    forget_peak_memory(resources.on_gpu)
    data = study.data.with_seed(run.seed)
    with _quiet():
        check_same(record, study, run, resources.batch_norm_parts)
        data.fill_cache()
        L.seed_everything(run.seed, workers=True, verbose=False)
        module = study.factory(run.arm)()
        configuration = {"run": run.name, "command": list(command), "shared": record.shared, "arm": record.arms[run.arm], "seed": run.seed}
        spent = Spent(resources.on_gpu)
        saving = ResumeCheckpoint(resumed, resources.checkpoint_minutes, interruption)
        trainer = _trainer(study, run, directory, configuration, hash_of_run, resumed, data.palette, resources, [spent, saving])
        if trainer.is_global_zero:
            write_text(directory / "config.yaml", yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True))
            write_json(directory / "environment.json", environment(resources.on_gpu))
        try:
            trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
            spent_on_it = _evaluate(trainer, module, data, spent, test)
            matrices = {split: _gathered(module, data, split) for split in _splits(test)}
            result = _result(module, run, hash_of_run, data.class_names, spent_on_it, _splits(test))
            trainer.save_checkpoint(
                directory / "checkpoints" / "last.ckpt", weights_only=True
            )  # every rank takes part, the first one writes
            if trainer.is_global_zero:
                _write_matrices(directory / "confusion.npz", matrices)
        except Interrupted:
            _end_other_ranks(trainer)
            raise
        finally:
            tracking.finish()
        if trainer.is_global_zero:
            write_result(directory / "result.json", result)
            remove(resumed)
            (directory / "failure.json").unlink(missing_ok=True)  # of an earlier attempt
    return result


def environment(on_gpu: bool) -> dict[str, Any]:
    """The machine and the versions a run was made with."""
    from importlib.metadata import version

    packages = ("seglab", "torch", "lightning", "torchmetrics", "segmentation-models-pytorch", "albumentations", "wandb", "numpy")
    return {
        "packages": {name: version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "device": torch.cuda.get_device_name() if on_gpu else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "commit": commit(),
    }


def commit() -> str | None:
    """The git commit of the working directory, `+` behind it if there are changes; None outside of git."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


class ProgressFile(Callback):
    """Keeps `progress.json` of a run, at most twice a second: what `run` and `status` show."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "progress.json"
        self._last = 0.0

    @override
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = time.monotonic()
        if trainer.is_global_zero and now - self._last >= 0.5:
            self._last = now
            progress = {"done": trainer.global_step, "all": int(trainer.estimated_stepping_batches), "epoch": trainer.current_epoch}
            part = self.path.with_suffix(".part")
            try:
                part.write_text(json.dumps(progress) + "\n")
                part.replace(self.path)
            except OSError:  # a training does not end because nobody can look at it
                part.unlink(missing_ok=True)


def _trainer(
    study: Study,
    run: Run,
    directory: Path,
    configuration: dict[str, Any],
    hash_of_run: str,
    resumed: Path,
    palette: NDArray[np.uint8],
    resources: Resources,
    own: Sequence[Callback],
) -> L.Trainer:
    callbacks = [
        StepRandomness(run.seed),
        FiniteLoss(),
        Throughput(),
        ProgressFile(directory),
        PredictionPictures(directory, palette),
        *own,
    ]
    if resources.diagnostics > 0:
        callbacks.append(WeightDiagnostics(max(1, -(-planned(study).steps // resources.diagnostics))))
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a debugging aid that costs a pass over every tensor made
    trainer = L.Trainer(
        accelerator=resources.accelerator,
        devices=resources.devices,
        num_nodes=resources.num_nodes,
        sync_batchnorm=resources.processes > 1 and resources.sync_batchnorm,
        plugins=[LightningEnvironment(), AtomicCheckpoints(hash_of_run, spare=resumed)],  # in a job of a cluster too: its ranks are set
        strategy=DDPStrategy(process_group_backend=None if resources.on_gpu else "gloo") if resources.processes > 1 else "auto",
        max_epochs=study.epochs,
        precision=study.precision,
        accumulate_grad_batches=study.accumulate,
        gradient_clip_val=study.gradient_clip,
        check_val_every_n_epoch=_validation_interval(study.epochs),
        deterministic="warn",
        logger=tracking.loggers(run, hash_of_run, directory, configuration, resources.wandb) if resources.is_first_process else False,
        callbacks=callbacks,
        log_every_n_steps=max(1, min(10, len(study.data.train_dataloader()) // study.accumulate)),
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=directory,
    )
    # Lightning's handler of TERM waits for other ranks, wherever they are, and may do so for ever
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer


def _evaluate(trainer: L.Trainer, module: SegmentationModule, data: SegmentationDataModule, spent: Spent, test: bool) -> dict[str, float]:
    """Score what was trained, on `test` if that is asked for, and on the training split; gives the cost of the run, without the latter."""
    training_seconds = spent.seconds
    if test:
        trainer.test(module, datamodule=data, verbose=False)
    else:
        FiniteLoss().on_test_start(trainer, module)  # its look at the trained weights, which comes with the test
    spent_on_it = cost(module, spent, training_seconds)
    module.validates = "train"
    trainer.validate(module, dataloaders=data.train_evaluation_dataloader(), verbose=False)
    return spent_on_it


def _validation_interval(epochs: int) -> int:
    """Validate ten times or a little more, and always after the last epoch."""
    return max(interval for interval in range(1, max(1, epochs // 10) + 1) if epochs % interval == 0)


def _end_other_ranks(trainer: L.Trainer) -> None:
    """Those that this process has started, which would wait for it, and then take its end for a failure."""
    launcher = trainer.strategy.launcher
    if launcher is not None:
        launcher.kill(signal.SIGKILL)


def _splits(test: bool) -> tuple[Literal["val", "test"], ...]:
    return ("val", "test") if test else ("val",)


def _clear(directory: Path) -> None:
    """Of an interrupted run what it will write again, and what processes that were killed have half written, goes; checkpoints stay."""
    patterns = ("checkpoints/last.ckpt", "metrics.csv", "progress.json", "predictions.png", "confusion.npz", "hpc_ckpt_*")
    for pattern in (*patterns, "*.part", "*.part.*", "checkpoints/*.part"):
        for leftover in directory.glob(pattern):
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the libraries say at every run and nobody can act on."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message="The .srun. command is available")
        warnings.filterwarnings("ignore", message="Be aware that when using `ckpt_path`")  # the module brings StepOrder later
        warnings.filterwarnings(
            "ignore", message=".*when logging on epoch level in distributed setting.*"
        )  # the metric has summed over ranks
        yield


def _gathered(module: SegmentationModule, data: SegmentationDataModule, split: Literal["val", "test"]) -> Matrices:
    """Names and per-image matrices of all ranks.

    Raises:
        RuntimeError: not every image of the split was counted once.
    """
    parts: list[Any] = [module.evaluation(split).matrices()]
    if module.trainer.world_size > 1:
        mine, parts = parts[0], [None] * module.trainer.world_size
        torch.distributed.all_gather_object(parts, mine)
    names, expected = [name for names, _ in parts for name in names], len(data.used(split))
    if len(names) != expected:
        raise RuntimeError(f"{len(names)} images of the {split} split were evaluated, and it has {expected}: its scores would be wrong")
    return names, np.concatenate([matrices for _, matrices in parts])


def _write_matrices(path: Path, matrices: Mapping[Literal["val", "test"], Matrices]) -> None:
    """Per split, `<split>_names` (N,) and `<split>` (N,C,C), truth × prediction, in pixels."""
    arrays = {f"{split}_names": np.array(names) for split, (names, _) in matrices.items()} | {
        str(split): counts.astype(np.uint32) for split, (_, counts) in matrices.items()
    }
    part = path.with_name(".confusion.part.npz")
    try:
        np.savez_compressed(part, **arrays)  # type: ignore[arg-type]
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _result(
    module: SegmentationModule, run: Run, hash_of_run: str, class_names: tuple[str, ...], cost: dict[str, float], splits: Sequence[Split]
) -> Result:
    scores: dict[str, Scores] = {split: module.scores(split) for split in ("train", *splits)}
    means = {split: {name: float(value) for name, value in found.mean.items()} for split, found in scores.items()}
    per_class = {str(split): {name: tuple(values.tolist()) for name, values in scores[split].per_class.items()} for split in splits}
    return Result(
        run, hash_of_run, class_names, means["val"], means.get("test", {}), per_class, cost, commit(), seglab.__version__, means["train"]
    )
