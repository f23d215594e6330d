"""Published data sets and adapters on the command line: by their short names, with flags that reproduce them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seglab import cli
from seglab.data import ADE20K, COCO, VOC, Cityscapes, HuggingFace, OxfordPets, SegmentationSource, TorchDataset
from seglab.script.parser import flags_of, study_parser
from tests.data.published import ade20k, cityscapes, coco, pets, sbd_png, voc
from tests.data.test_data_flags import data_of, study
from tests.data.test_sources_adapters import table

OWN = """
from torchvision.datasets import VOCSegmentation

def own_voc(split):
    return VOCSegmentation("voc", image_set="val" if split == "test" else "train")
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All data sets in the working directory, and a user's file beside them."""
    for write in (cityscapes, voc, pets, ade20k):
        write(tmp_path / write.__name__)
    sbd_png(tmp_path / "voc")
    coco(tmp_path / "coco", [])
    coco(tmp_path / "own_coco", [], year="", splits=("train", "val", "test"), count=2)
    table(tmp_path / "table")
    (tmp_path / "own_torch.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_torch", None)


def own_voc() -> Any:
    from own_torch import own_voc  # type: ignore[import-not-found]  # the user's file

    return own_voc


LINES: dict[str, Any] = {
    "Cityscapes --data.source.root cityscapes": lambda: Cityscapes(Path("cityscapes")),
    "VOC --data.source.root voc": lambda: VOC(Path("voc")),
    "VOC --data.source.root voc --data.source.sbd true": lambda: VOC(Path("voc"), sbd=True),
    "OxfordPets --data.source.root pets --data.source.border class": lambda: OxfordPets(Path("pets"), "class"),
    "ADE20K --data.source.root ade20k": lambda: ADE20K(Path("ade20k")),
    "COCO --data.source.root coco": lambda: COCO(Path("coco")),
    "COCO --data.source.root own_coco --data.source.year=": lambda: COCO(Path("own_coco"), ""),
    "HuggingFace --data.source.path table --data.source.class_names [a,b,c]": lambda: HuggingFace(Path("table"), ("a", "b", "c")),
    f"TorchDataset --data.source.make own_torch.own_voc --data.source.class_names [{','.join(VOC.class_names)}]": lambda: TorchDataset(
        own_voc(), VOC.class_names
    ),
}


@pytest.mark.parametrize("line", LINES)
def test_a_source_is_named_by_its_short_name(line: str) -> None:
    words = ["--data.source", *line.split()]
    source: SegmentationSource = LINES[line]()
    assert data_of(*words).source == source
    parser = study_parser(study)  # type: ignore[arg-type]
    flags = flags_of(study, parser.parse_args(words))  # type: ignore[arg-type]
    assert data_of(*flags).source == source, "the flags of a record reproduce it"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("VOC", "VOC needs root"),
        ("VOC --data.source.root nowhere", "nowhere: there is no folder"),
        ("OxfordPets --data.source.root pets --data.source.border x", "expected one of"),
        ("HuggingFace --data.source.path table", "the column label does not name its classes"),
        ("TorchDataset --data.source.make own_torch.nothing --data.source.class_names [a]", "nothing"),
        ("TorchDataset --data.source.class_names [a]", "make"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    line: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments import losses
    from seglab.script.main import main

    monkeypatch.setattr(sys, "argv", ["losses.py", "run", "--dry_run", "--data.source", *line.split()])
    with pytest.raises(SystemExit) as ended:
        main(losses.study)
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.filterwarnings(r"ignore:[\s\S]*(JSONARGPARSE_DEPRECATION|deprecated in v4)")
def test_seglab_fit_trains_on_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--model.network seglab.unet --model.network.encoder tu-test_resnet --model.network.num_classes 21 --data.source VOC --data.source.root voc --data.size [32,32]"
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "seglab",
            "fit",
            *words.split(),
            "--trainer.max_epochs",
            "1",
            "--trainer.limit_train_batches",
            "1",
            "--trainer.accelerator",
            "cpu",
        ],
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0, capsys.readouterr().err
