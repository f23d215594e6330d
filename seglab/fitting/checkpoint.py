"""Read the checkpoint that a command names, and check that it fits network and data, before anything is written."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from seglab.data import SegmentationDataModule
from seglab.module import SegmentationModule
from seglab.networks.checkpoint import compared
from seglab.study.differences import differences


def read(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint of a `SegmentationModule`.

    Raises:
        ValueError: the file is missing, damaged, or no such checkpoint.
    """
    if not path.is_file():
        raise ValueError(f"--ckpt_path {path} is no file; expected a checkpoint, such as runs/fit/version_0/checkpoints/last.ckpt")
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"--ckpt_path {path}: is damaged or no checkpoint ({type(error).__name__}); expected one of `seglab fit` or of a study's run"
        ) from error
    if broken is not None:
        raise ValueError(f"--ckpt_path {path}: is damaged (in {broken}); use another checkpoint, such as its neighbour best.ckpt")
    if not isinstance(held, dict) or not isinstance(held.get("seglab"), Mapping) or "state_dict" not in held:
        raise ValueError(f"--ckpt_path {path}: is no checkpoint of seglab; expected one of `seglab fit` or of a study's run")
    return held


def check_fits(held: Mapping[str, Any], path: Path, module: SegmentationModule, data: SegmentationDataModule) -> None:
    """Check that a checkpoint is of the same network, classes and normalisation as `module` and `data`.

    Raises:
        ValueError: it is not; each difference is named.
    """
    saved = held["seglab"]
    there, here = list(saved["class_names"]), list(data.class_names)
    if there != here:
        raise ValueError(
            f"--ckpt_path {path}: was trained for {len(there)} classes ({', '.join(there)}), and these data have {len(here)} "
            f"({', '.join(here)}): give the data that it was trained for, such as by --config with the config.yaml of its folder"
        )
    old, new = compared(saved["network"], module.network)
    normalisation = {"mean": module.mean.flatten().tolist(), "std": module.std.flatten().tolist()}
    lines = differences({"network": old} | {name: saved[name] for name in normalisation}, {"network": new} | normalisation)
    lines += _misfits(held["state_dict"], module.state_dict())
    if lines:
        more = f", and {len(lines) - 3} more" if len(lines) > 3 else ""
        raise ValueError(
            f"--ckpt_path {path}: is of another network: {'; '.join(lines[:3])}{more} (checkpoint → now): give the model that it was trained "
            "with, such as by --config with the config.yaml of its folder"
        )


def _misfits(saved: Mapping[str, torch.Tensor], now: Mapping[str, torch.Tensor]) -> list[str]:
    """Return a line for each weight that one side lacks or whose shapes differ."""
    shapes = [{name: list(tensor.shape) for name, tensor in side.items() if isinstance(tensor, torch.Tensor)} for side in (saved, now)]
    old, new = ({name.replace(".", "/"): shape for name, shape in side.items()} for side in shapes)
    return differences(old, new)
