"""The model card of an exported network: what it is, how it was trained, how good it is, and how to use it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

import seglab
from seglab.compare.metric import Metric
from seglab.compare.numbers.resampled import resampled_interval
from seglab.compare.numbers.statistics import mean, t_interval
from seglab.compare.splits import DataSplits, data_splits
from seglab.networks import TrainedNetwork, description
from seglab.networks.checkpoint import LAST
from seglab.prediction.formats import FORMATS, Agreement, image_dtype, smallest
from seglab.prediction.predict import Predictor
from seglab.records import Result, StudyRecord, read_record, read_result, read_results

SCORES = ("test/miou", "test/dice", "test/pixel_accuracy", "val/miou")
"""Metrics that a card shows, as far as the runs have them."""


class Export(NamedTuple):
    """An exported network."""

    checkpoint: Path
    checkpoint_sha256: str
    trained: TrainedNetwork
    files: Mapping[str, Agreement]
    """Agreement of each file with the network, by the file's name."""


def card(export: Export) -> str:
    """Return the model card in Markdown."""
    config = description(export.trained.network).get("config", {})
    encoder = f" on {config['encoder_name']}" if "encoder_name" in config else ""
    name = f"{type(export.trained.network).__name__}{encoder}, {len(export.trained.class_names)} classes"
    parts = [f"# {name}", *_network(export), *_use(export), *_classes(export.trained), *_origin(export.checkpoint)]
    return "\n\n".join(parts) + "\n"


def _network(export: Export) -> list[str]:
    trained = export.trained
    dtype = str(image_dtype(trained)).removeprefix("torch.")
    values = {"uint8": "0 to 255", "uint16": "0 to 65535"}.get(dtype, "the values of the training images")
    lines = [
        f"- Input: images (N,{trained.in_channels},H,W) {dtype}, {values}. Normalisation and padding are inside.",
        f"- Output: logits (N,{_logits(trained)},H,W) float32 at the size of the images"
        + ("; above 0 is the second class." if _logits(trained) == 1 else "; the largest is the class."),
        f"- Parameters: {sum(parameter.numel() for parameter in trained.parameters()):,}.",
        f"- From `{export.checkpoint.name}`, SHA-256 `{export.checkpoint_sha256}`, by seglab {seglab.__version__}.",
    ]
    if trained.size is not None:
        lines.insert(
            1,
            f"- Size: it was trained on images that were resized to {trained.size[0]}×{trained.size[1]}. Resize them before, and the logits back.",
        )
    files = [f"- `{file}`: {found}." for file, found in export.files.items()]
    return ["\n".join(lines), "## Files", "Each file was read again and compared with the network:", "\n".join(files)]


def _use(export: Export) -> list[str]:
    trained, parts = export.trained, ["## Use"]
    dtype = str(image_dtype(trained)).removeprefix("torch.")
    for file in export.files:
        known = FORMATS[file.rpartition(".")[2]]
        program = known.use.format(file=file, channels=trained.in_channels, dtype=dtype, logits=_logits(trained))
        parts.append(f"```python\n{program}\n```")
        if not known.any_size:
            parts.append(f"`{file}` takes any number of images of any height and width from {smallest(trained)} pixels on.")
    return parts


def _logits(trained: TrainedNetwork) -> int:
    """Return the number of logits of a pixel: one, or one for each class."""
    classes = description(trained.network).get("config", {}).get("classes")
    return len(trained.class_names) if classes is None else int(classes)


def _classes(trained: TrainedNetwork) -> list[str]:
    colours = Predictor(trained).palette
    rows = [(str(label), _cell(name), "#{:02x}{:02x}{:02x}".format(*colours[label])) for label, name in enumerate(trained.class_names)]
    return ["## Classes", _table(("index", "name", "colour"), rows)]


def _origin(checkpoint: Path) -> list[str]:
    """Return the sections on training and scores, from the records in the folder of the run."""
    run = checkpoint.resolve().parents[1]
    if (run / "result.json").is_file() and (record := read_record(run.parent.parent)) is not None:
        scores = _scores(run) if checkpoint.name == LAST.name else ["## Scores", f"Not known: those of the run are of `{LAST.name}`."]
        return [*_study(run, read_result(run / "result.json"), record), *scores]
    if (run / "config.yaml").is_file():
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        return [
            "## Training",
            "By `seglab fit`, with this configuration:",
            f"```yaml\n{yaml.safe_dump(config, sort_keys=False).strip()}\n```",
        ]
    return ["## Training", "The checkpoint lies in no folder of a run, so that its data, command and scores are not known."]


def _study(run: Path, result: Result, record: StudyRecord) -> list[str]:
    settings = yaml.safe_load((run / "settings.yaml").read_text(encoding="utf-8")) if (run / "settings.yaml").is_file() else {}
    lines = [f"Arm `{result.run.arm}` of the study `{result.run.study}`, seed {result.run.seed}, by seglab {result.version}."]
    if result.commit is not None:
        lines.append(f"Commit `{result.commit}`.")
    command = settings.get("command")
    parts = ["## Training", " ".join(lines)]
    if command:
        parts.append(f"```\n{' '.join(map(str, command))}\n```")
    data = {key: value for key, value in record.shared.get("data", {}).items() if key != "splits"}
    arm = {
        key: value
        for key, value in record.arms[record.entry(result.run)].items()
        if key in ("loss", "regularizer", "freeze", "optimizer", "scheduler")
    }
    for title, values in (("Data", data), (f"Arm `{result.run.arm}`", arm)):
        parts += [
            f"{title}:",
            f"```yaml\n{yaml.safe_dump(json.loads(json.dumps(values)), sort_keys=False, allow_unicode=True).strip()}\n```",
        ]
    return parts


def _scores(run: Path) -> list[str]:
    """Return the scores of this run, and of its arm over all seeds."""
    this = read_result(run / "result.json")
    arm = [result for result in read_results(run.parent.parent)[0] if result.run.arm == this.run.arm and result.identity == this.identity]
    splits = data_splits(read_record(run.parent.parent))
    rows = [_score(Metric.parse(metric), this, arm, splits) for metric in SCORES if _value(this, metric) is not None]
    corrected = "" if splits is None else " and data splits"
    several = (
        f"mean of the arm over {len(arm)} seeds{corrected}, with its 95 % {'t interval' if splits is None else 'corrected t interval'}"
        if len(arm) > 1
        else "one seed, so that its spread is not known"
    )
    return ["## Scores", f"This run, and the {several}:", _table(("metric", "this run", "arm", "95 % interval"), rows)]


def _score(metric: Metric, this: Result, arm: Sequence[Result], splits: DataSplits | None) -> tuple[str, ...]:
    values = np.array([value for result in arm if (value := _value(result, str(metric))) is not None])
    low, high = t_interval(values) if splits is None else resampled_interval(values, splits.share(metric.split))
    shown = [metric.unit.value(float(value)) for value in (this.score(str(metric)), mean(values), low, high)]
    return (f"{metric} ({metric.unit.level})", shown[0], shown[1], f"{shown[2]} to {shown[3]}")


def _value(result: Result, metric: str) -> float | None:
    """Return a score; None if the run has no such score or it is undefined."""
    try:
        value = result.score(metric)
    except ValueError:
        return None
    return None if np.isnan(value) else value


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
