"""Check that an arm has the same settings on every data set, except what follows from the data."""

from collections.abc import Iterator, Mapping
from typing import Any

from seglab.records import StudyRecord, settings_of

FOLLOWS_FROM_DATA = frozenset(
    [
        "classes",
        "num_classes",
        "in_channels",
        "structure",
        "start",
        "loss_start",
        "ignore_index",
        "mean",
        "std",
        "weight",
        "class_weight",
        "rates",
        "all",
        "factors",
    ]
)
"""Names of an arm's settings that follow from the data set. Examples are numbers of classes and channels, class weights
and normalization. Others are hashes and learning rates that depend on these settings or on the number of steps.
"""

NOTED = frozenset({"code", "tuning"})
"""Names of settings of an arm that may differ, with a note."""


def check_settings(records: Mapping[str, StudyRecord]) -> None:
    """Check the studies of several data sets.

    Args:
        records: record of each study, by its name in the messages.

    Raises:
        ValueError: two studies have the same test images, or an arm has other settings in one study. Tuned arms may
            differ: their settings are chosen on each data set.
    """
    for place, (name, record) in enumerate(records.items()):
        for earlier in list(records)[:place]:
            if (images := _test_images(record)) is not None and images == _test_images(records[earlier]):
                raise ValueError(f"{earlier} and {name} have the same test images: expected another data set in each study")
            _check_arms({earlier: records[earlier], name: record})


def _check_arms(two: Mapping[str, StudyRecord]) -> None:
    (first, one), (second, other) = two.items()
    for arm in one.arms.keys() & other.arms.keys():
        ours, theirs = one.arms[arm], other.arms[arm]
        if "tuning" in ours and "tuning" in theirs:
            continue
        lines = list(_differences(settings_of(ours), settings_of(theirs)))
        if lines:
            raise ValueError(
                f"arm {arm!r} has other settings in {second} than in {first}: {'; '.join(lines)}. Expected the same method in both; only "
                "what follows from the data may differ, such as the number of classes"
            )


def _differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Yield a line such as `regularizer.strength: 0.001 → 0.01` for each setting that differs.

    Settings in `FOLLOWS_FROM_DATA` or `NOTED` are left out.

    A setting that only one of them has equals one that is off, None or False.
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in dict.fromkeys([*one, *other]):
            if name not in FOLLOWS_FROM_DATA | NOTED:
                yield from _differences(one.get(name), other.get(name), f"{path}.{name}".lstrip("."))
    elif one != other and not (one in (None, False) and other in (None, False)):
        yield f"{path}: {_short(one)} → {_short(other)}"


def settings_notes(records: Mapping[str, StudyRecord]) -> list[str]:
    """Return lines on settings of all arms that differ between data sets, on edited definitions and on tuned arms."""
    found = {name: dict(_flat(record.shared)) for name, record in records.items()}
    notes = []
    for setting in dict.fromkeys(setting for own in found.values() for setting in own):
        values = {name: own.get(setting) for name, own in found.items()}
        if len({str(value) for value in values.values()}) > 1:
            notes.append(f"the studies differ in {setting}: {', '.join(f'{_short(value)} ({name})' for name, value in values.items())}")
    code: dict[str, set[str]] = {}
    for record in records.values():
        for definition, text in {item for arm in record.arms.values() for item in arm.get("code", {}).items()}:
            code.setdefault(definition, set()).add(text)
    notes += [f"the code of {definition} is not the same in all studies" for definition, texts in sorted(code.items()) if len(texts) > 1]
    if any("tuning" in arm for record in records.values() for arm in record.arms.values()):
        notes.append("tuned arms: the settings of an arm were chosen on each data set, and may differ between data sets")
    return notes


def _flat(shared: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings of all arms by dotted name, without those that say which data set it is."""
    for name, value in shared.items():
        if f"{prefix}{name}" in ("data.source", "data.splits", "code", *(f"data.folds.{split}" for split in ("train", "val", "test"))):
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _test_images(record: StudyRecord) -> object:
    """Return what identifies the test images of a study; None if it is not recorded."""
    data = record.shared.get("data")
    splits = data.get("splits") if isinstance(data, Mapping) else None
    return splits.get("test") if isinstance(splits, Mapping) else None


def _short(value: object) -> str:
    text = str(value["class"]).rpartition(".")[2] if isinstance(value, Mapping) and "class" in value else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
