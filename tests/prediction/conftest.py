"""A trained network, and images to predict."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from seglab import CrossEntropy, SegmentationDataModule, SegmentationModule, Shapes, cli
from seglab.networks import network
from tests.trainers import quiet_trainer


class Ended(NamedTuple):
    """Output and exit code of a command."""

    code: object
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """The `seglab` command, in this process."""

    def run(*words: object) -> Ended:
        monkeypatch.setattr("sys.argv", ["seglab", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Ended(ended.value.code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run: a network that has trained for two epochs."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    data = SegmentationDataModule(Shapes(num_train=8, num_val=2, num_test=2, image_size=32, num_shapes=3), batch_size=4, num_workers=0)
    module = SegmentationModule(network("FPN", "tu-test_resnet", num_classes=4), CrossEntropy(), num_classes=4, mean=(0.3, 0.4, 0.5))
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(folder / "checkpoints" / "last.ckpt")
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Write a folder of four images of several sizes, one grey, one in a subfolder, with a text and a hidden file."""
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, shape in {"a.png": (40, 60, 3), "b.jpg": (33, 47, 3), "grey.png": (20, 30), "more/a.png": (8, 90, 3)}.items():
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    return folder
