"""Evaluating the weights of a finished run again."""

from collections.abc import Mapping

import lightning as L
import torch

from seglab.records import Result, read_result
from seglab.running.job import EvaluatedSplit, Job
from seglab.running.process import run_settings
from seglab.study.identity import check_same


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
    weights = job.checkpoints / "last.ckpt"
    if not weights.is_file():
        raise ValueError(f"{weights}: no such file; it holds the weights of a finished run")
    data = job.seeded_data()
    with run_settings():
        check_same(job.record, job.study, job.run, job.resources.batch_norm_parts)
        L.seed_everything(job.run.seed, workers=True, verbose=False)
        module = job.study.factory(job.run.arm)()
        module.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True)["state_dict"])
        trainer = L.Trainer(
            accelerator=job.resources.accelerator,
            devices=1,
            precision=job.study.precision,
            deterministic="warn",
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        evaluate = trainer.test if split == "test" else trainer.validate
        evaluate(module, datamodule=data, verbose=False)
        return {name: float(value) for name, value in module.scores(split).mean.items()}
