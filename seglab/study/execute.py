"""One run, from its seed to its result."""

import contextlib
import gc
import logging
import math
import os
import platform
import shutil
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
from seglab.callbacks import FiniteLoss, PredictionPictures, StepRandomness, Throughput, WeightDiagnostics
from seglab.data import SegmentationDataModule
from seglab.metrics import Scores
from seglab.module import SegmentationModule, Split
from seglab.run import Result, Run, StudyRecord, identity, write_json, write_result, write_text
from seglab.study.describe import check_same, planned
from seglab.study.study import Study

Accelerator = Literal["auto", "cpu", "gpu"]

Matrices = tuple[list[str], NDArray[np.int64]]
"""Names of N images, and their confusion matrices (N,C,C), truth × prediction."""


@dataclass(frozen=True)
class Resources:
    """What a run computes on. Of it, only the number of devices can change a score, by way of batch norm."""

    devices: int = 1
    accelerator: Accelerator = "auto"
    wandb: tracking.WandbMode = "auto"
    diagnostics: int = 20
    """How often in a run the weights of each stage are looked at, about; 0 is never."""

    @property
    def on_gpu(self) -> bool:
        """Whether runs compute on CUDA devices."""
        return self.accelerator != "cpu" and torch.cuda.is_available()


_CLEAR = Path("/proc/self/clear_refs")


def execute(
    study: Study, run: Run, folder: Path, record: StudyRecord, command: Sequence[str], resources: Resources, test: bool = True
) -> Result:
    """Train and test one arm under one seed; `result.json` appears last, and whole. Without `test`, its scores are of `val` alone.

    Seed first, build second: the arm's factory is called when all generators stand at the run's seed.
    """
    directory = run.directory(folder)
    directory.mkdir(parents=True, exist_ok=True)
    if _is_rank_zero():
        _clear(directory)
    _forget_peak_memory(resources.on_gpu)
    tracking.show_log()
    data = study.data.with_seed(run.seed)
    with _quiet():
        check_same(record, study, run, resources.devices)
        data.fill_cache()
        L.seed_everything(run.seed, workers=True, verbose=False)
        module = study.factory(run.arm)()
        configuration = {"run": run.name, "command": list(command), "shared": record.shared, "arm": record.arms[run.arm], "seed": run.seed}
        trainer = _trainer(study, run, directory, configuration, identity(record, run), data.palette, resources)
        if trainer.is_global_zero:
            write_text(directory / "config.yaml", yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True))
            write_json(directory / "environment.json", environment(resources.on_gpu))
        began = time.perf_counter()
        try:
            trainer.fit(module, datamodule=data)
            trained = time.perf_counter()
            if test:
                trainer.test(module, datamodule=data, verbose=False)
            else:
                FiniteLoss().on_test_start(trainer, module)  # its look at the trained weights, which comes with the test
            cost = _cost(module, trainer, began, trained)
            module.validates = "train"
            trainer.validate(module, dataloaders=data.train_evaluation_dataloader(), verbose=False)
            matrices = {split: _gathered(module, data, split) for split in _splits(test)}
            result = _result(module, run, identity(record, run), data.class_names, cost, _splits(test))
            part = directory / "checkpoints" / "last.ckpt.part"
            trainer.save_checkpoint(part, weights_only=True)  # every rank takes part, the first one writes
            if trainer.is_global_zero:
                part.replace(part.with_suffix(""))
                _write_matrices(directory / "confusion.npz", matrices)
        finally:
            tracking.finish()
        if trainer.is_global_zero:
            write_result(directory / "result.json", result)
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
            part = self.path.with_suffix(".part")
            part.write_text(
                f'{{"done": {trainer.global_step}, "all": {int(trainer.estimated_stepping_batches)}, "epoch": {trainer.current_epoch}}}\n'
            )
            part.replace(self.path)


def _trainer(
    study: Study,
    run: Run,
    directory: Path,
    configuration: dict[str, Any],
    hash_of_run: str,
    palette: NDArray[np.uint8],
    resources: Resources,
) -> L.Trainer:
    callbacks = [StepRandomness(run.seed), FiniteLoss(), Throughput(), ProgressFile(directory), PredictionPictures(directory, palette)]
    if resources.diagnostics > 0:
        callbacks.append(WeightDiagnostics(max(1, planned(study).steps // resources.diagnostics)))
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a debugging aid that costs a pass over every tensor made
    return L.Trainer(
        accelerator=resources.accelerator,
        devices=resources.devices,
        sync_batchnorm=resources.devices > 1 and resources.on_gpu,
        plugins=[LightningEnvironment()],  # our own launcher starts the processes, inside a Slurm job too, where Lightning would take over
        strategy=DDPStrategy(process_group_backend=None if resources.on_gpu else "gloo") if resources.devices > 1 else "auto",
        max_epochs=study.epochs,
        precision=study.precision,
        accumulate_grad_batches=study.accumulate,
        gradient_clip_val=study.gradient_clip,
        check_val_every_n_epoch=_validation_interval(study.epochs),
        deterministic="warn",
        logger=tracking.loggers(run, hash_of_run, directory, configuration, resources.wandb) if _is_rank_zero() else False,
        callbacks=callbacks,
        log_every_n_steps=max(1, min(10, len(study.data.train_dataloader()) // study.accumulate)),
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=directory,
    )


def _validation_interval(epochs: int) -> int:
    """Validate ten times or a little more, and always after the last epoch."""
    return max(interval for interval in range(1, max(1, epochs // 10) + 1) if epochs % interval == 0)


def _is_rank_zero() -> bool:
    return int(os.environ.get("LOCAL_RANK", 0)) == 0


def _splits(test: bool) -> tuple[Literal["val", "test"], ...]:
    return ("val", "test") if test else ("val",)


def _clear(directory: Path) -> None:
    """An interrupted run starts over, and ends as if it had never been interrupted; nothing of its first try remains."""
    for name in ("metrics.csv", "progress.json", "failure.json", "predictions.png", "confusion.npz"):
        (directory / name).unlink(missing_ok=True)
    for checkpoint in directory.glob("hpc_ckpt_*"):
        checkpoint.unlink()
    shutil.rmtree(directory / "wandb", ignore_errors=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the libraries say at every run and nobody can act on."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message="The .srun. command is available")
        warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation.*")
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
    np.savez_compressed(part, **arrays)  # type: ignore[arg-type]
    part.replace(path)


def _result(
    module: SegmentationModule, run: Run, hash_of_run: str, class_names: tuple[str, ...], cost: dict[str, float], splits: Sequence[Split]
) -> Result:
    scores: dict[str, Scores] = {split: module.scores(split) for split in ("train", *splits)}
    means = {split: {name: float(value) for name, value in found.mean.items()} for split, found in scores.items()}
    per_class = {str(split): {name: tuple(values.tolist()) for name, values in scores[split].per_class.items()} for split in splits}
    return Result(
        run, hash_of_run, class_names, means["val"], means.get("test", {}), per_class, cost, commit(), seglab.__version__, means["train"]
    )


def _cost(module: SegmentationModule, trainer: L.Trainer, began: float, trained: float) -> dict[str, float]:
    weights = [weight.tensor for weight in module.weights().values() if weight.kind == "weight"]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    parameters = list(module.network.parameters())
    return {
        "seconds": time.perf_counter() - began,
        "training_seconds": trained - began,
        "peak_memory_mib": _peak_memory_mib(trainer.strategy.root_device.type == "cuda"),
        "parameters": float(sum(parameter.numel() for parameter in parameters)),
        "trainable_parameters": float(sum(parameter.numel() for parameter in parameters if parameter.requires_grad)),
        "exact_zeros": zeros / max(1, sum(weight.numel() for weight in weights)),
    }


def _forget_peak_memory(on_gpu: bool) -> None:
    """Start the peak anew: a worker has had other runs before this one, whose remains go first."""
    gc.collect()
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    elif _CLEAR.exists():
        _CLEAR.write_text("5")  # proc(5): resets VmHWM


def _peak_memory_mib(on_gpu: bool) -> float:
    """Of the device, or of this process where there is none (Linux; NaN elsewhere)."""
    if on_gpu:
        return torch.cuda.max_memory_allocated() / 2**20
    if not _CLEAR.exists():
        return math.nan
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024
