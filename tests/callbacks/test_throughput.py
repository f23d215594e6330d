"""The wait for data is measured, and a training that waits much ends with a line that says what helps."""

import time
from dataclasses import dataclass

import pytest

from seglab import CrossEntropy, Sample, SegmentationDataModule, SegmentationDataset, SegmentationModule, SegmentationSource, Split
from seglab.callbacks import Throughput, throughput
from tests.data.test_augmentation_contract import Samples
from tests.nets import Small
from tests.trainers import quiet_trainer


@dataclass(frozen=True)
class Source(SegmentationSource):
    """Eight samples that take `seconds` each to read."""

    seconds: float = 0.0
    class_names: tuple[str, ...] = ("a", "b", "c")

    def split(self, name: Split) -> SegmentationDataset:
        source = self

        class Slow(Samples):
            def __getitem__(self, index: int) -> Sample:
                time.sleep(source.seconds)
                return super().__getitem__(index)

        return Slow()


def train(seconds: float) -> float:
    """Train two epochs, and return the logged fraction of waiting of the last."""
    trainer = quiet_trainer(callbacks=[Throughput()])
    data = SegmentationDataModule(Source(seconds), batch_size=2, num_workers=0, cache=False, augmentation=None)
    trainer.fit(SegmentationModule(Small(), CrossEntropy(), num_classes=4), datamodule=data)
    return float(trainer.callback_metrics["perf/data_wait"])


def test_waiting_is_measured_and_advice_ends_the_training(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(throughput, "LONG_WAITING", 0.2)
    assert train(0.1) > 0.5
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "waiting" in line]
    percent, _, rest = line.partition(" ")
    assert 10 < int(percent) <= 100
    for flag in ("perf/data_wait", "--data.num_workers", "--data.cache true", "--data.size"):
        assert flag in rest


def test_a_short_training_gives_no_advice(capsys: pytest.CaptureFixture[str]) -> None:
    train(0.01)
    assert "waiting" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("waited", "spent", "said"), [(10, 99, True), (10, 100, False), (9.9, 10, False), (0, 0, False), (500, 4000, True)]
)
def test_advice_is_for_long_and_large_waits(waited: float, spent: float, said: bool) -> None:
    assert (throughput.advice(waited, spent) is not None) == said
