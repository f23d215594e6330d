"""Data on the command line: a source by class and flags, loading flags for every source, and repeating commands.

The printed commands reproduce the data.
"""

import functools
import json
import re
import shlex
import sys
from argparse import ArgumentError
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import albumentations as A
import pytest

from seglab import Study
from seglab.data import (
    AugmentationFile,
    CamVid,
    ImageMaskFolder,
    LightAugmentation,
    SegmentationDataModule,
    SegmentationSource,
    Shapes,
    StrongAugmentation,
    default_augmentation,
)
from seglab.script.command_line import parse
from seglab.script.parser import flags_of, parser_of, study_parser
from seglab.script.request import plans_of
from tests.data.conftest import write_folder
from tests.data.test_data_camvid import write

OWN = """
from dataclasses import dataclass
from pathlib import Path

import albumentations as A

from seglab import SegmentationDataset, SegmentationSource, Shapes, Split

@dataclass(frozen=True)
class Cells(SegmentationSource):
    root: Path
    class_names = Shapes().class_names
    def split(self, name: Split) -> SegmentationDataset: return Shapes(num_train=12, image_size=16).split(name)

def flips() -> A.Compose:
    return A.Compose([A.HorizontalFlip(p=1.0)])

@dataclass(frozen=True)
class Flips:
    p: float = 0.5

    def __call__(self) -> A.Compose:
        return A.Compose([A.HorizontalFlip(p=self.p)])
"""
"""A user's file: a source in four lines, and two augmentations."""

LOADING = {"batch_size": 4, "size": (16, 24), "augmentation": None, "num_workers": 0, "cache": True, "train_fraction": 0.5}
LOADING |= {"balanced_images": 0.25, "crop": (8, 8), "balanced_crops": 0.5}


def study(
    data: SegmentationDataModule = SegmentationDataModule(Shapes(num_train=16, image_size=32), batch_size=4), epochs: int = 3
) -> SegmentationDataModule:
    return data


def data_of(*words: str, function: Any = study) -> SegmentationDataModule:
    parser = study_parser(function)
    data = parser.instantiate(parser.parse_args(words)).data
    assert isinstance(data, SegmentationDataModule)
    return data


def settings(data: SegmentationDataModule) -> dict[str, Any]:
    return {name: getattr(data, name) for name in ("source", *LOADING)}


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The user's file, in the working directory, and two data sets beside it."""
    (tmp_path / "own_cells.py").write_text(OWN)
    write_folder(tmp_path / "folder")
    write(tmp_path / "camvid", "{}/images", "{}/masks", lists=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_cells", None)


SOURCES = {
    "Shapes": (),
    "ImageMaskFolder": ("--data.source.root", "folder", "--data.source.num_classes", "3"),
    "CamVid": ("--data.source.root", "camvid"),
    "own_cells.Cells": ("--data.source.root", "somewhere"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_flag_of_loading_works_with_every_source(source: str) -> None:
    flags = [word for name, value in LOADING.items() for word in (f"--data.{name}", json.dumps(value))]
    data = data_of("--data.source", source, *SOURCES[source], *flags)
    assert type(data.source).__name__ == source.rpartition(".")[2]
    assert {name: value for name, value in settings(data).items() if name != "source"} == LOADING


def test_a_users_own_source_of_four_lines_gives_batches() -> None:
    data = data_of("--data.source", "own_cells.Cells", "--data.source.root", "somewhere", "--data.size", "[16,24]")
    assert data.source.root == Path("somewhere")  # type: ignore[attr-defined]
    assert next(iter(data.train_dataloader())).image.shape == (4, 3, 16, 24)
    assert data.num_classes == len(data.palette) == 6


def test_a_scripts_defaults_stay_where_no_flag_says_otherwise() -> None:
    assert settings(data_of()) == settings(study())
    data = data_of("--data.source.num_train", "8", "--data.cache", "false")
    assert data.source == Shapes(num_train=8, image_size=32)
    assert (data.batch_size, data.cache) == (4, False)
    other = data_of("--data.source", "CamVid", "--data.source.root", "camvid")
    assert other.source == CamVid(Path("camvid"))
    assert other.batch_size == 4
    assert (other.resized_to, other.caches) == ((352, 480), False), "left to the source, which is another"


def test_a_source_says_what_suits_it_and_loading_has_the_last_word() -> None:
    shapes, camvid = Shapes(), CamVid(Path("camvid"))
    assert [SegmentationDataModule(source).resized_to for source in (shapes, camvid)] == [None, (352, 480)]
    assert [SegmentationDataModule(source).caches for source in (shapes, camvid)] == [True, False]
    assert SegmentationDataModule(camvid, size=(360, 480)).resized_to == (360, 480)
    assert not SegmentationDataModule(shapes, cache=False).caches
    as_suggested = SegmentationDataModule(camvid, size=(352, 480), batch_size=2)
    assert as_suggested.identity() == SegmentationDataModule(camvid, batch_size=2).identity()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--data.source.num_train 8 --data.crop [8,8] --data.balanced_crops 0.5",
        "--data.source CamVid --data.source.root camvid --data.size [96,128]",
        "--data.source ImageMaskFolder --data.source.root folder --data.source.num_classes 3 --data.source.void 9",
        "--data.source ImageMaskFolder --data.source.root folder --data.source.num_classes 3 --data.source.class_names [a,b,c]",
        "--data.source own_cells.Cells --data.source.root somewhere --data.augmentation null",
        "--data.augmentation own_cells.flips --data.num_workers 2",
        "--data.augmentation own_cells.Flips --data.augmentation.p 0.25",
    ],
)
def test_resolved_flags_reproduce_the_data(line: str) -> None:
    function: Any = study
    parser = study_parser(function)
    given = parser.parse_args(shlex.split(line))
    flags = flags_of(function, given)
    assert "--data" not in flags
    assert settings(data_of(*flags)) == settings(parser.instantiate(given).data)
    elsewhere = data_of(*flags, function=lambda_study)
    assert settings(elsewhere) == settings(parser.instantiate(given).data), "no default of the script is needed"


def lambda_study(data: "SegmentationDataModule", epochs: int = 3) -> SegmentationDataModule:
    """Has no default for its data, and an annotation that is text."""
    return data


def test_data_without_a_default_need_a_source() -> None:
    data = data_of("--data.source", "Shapes", "--data.batch_size", "2", function=lambda_study)
    assert (data.source, data.batch_size) == (Shapes(), 2)
    with pytest.raises(ArgumentError, match=r"data\.source"):
        data_of(function=lambda_study)


def test_the_augmentation_is_a_function_or_a_class_by_its_path_or_null_for_none() -> None:
    def flipped(*words: str) -> float:
        """The part of the training images that are the original's mirror image; the others are the original."""
        data = data_of("--data.source.image_size", "16", "--data.batch_size", "16", *words)
        (batch,) = data.train_dataloader()
        original = data.source.split("train")
        pairs = [(image, original[int(name.rpartition("/")[2])].image) for image, name in zip(batch.image, batch.name, strict=True)]
        mirrored = [bool((image == whole.flip(-1)).all()) for image, whole in pairs]
        assert all(mirror or bool((image == whole).all()) for (image, whole), mirror in zip(pairs, mirrored, strict=True))
        return sum(mirrored) / len(mirrored)

    assert data_of().augmentation is default_augmentation
    assert flipped("--data.augmentation", "null") == 0
    assert flipped("--data.augmentation", "own_cells.flips") == 1
    assert 0 < flipped("--data.augmentation", "own_cells.Flips") < 1
    assert flipped("--data.augmentation", "own_cells.Flips", "--data.augmentation.p", "1") == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--help"], ("--data.train_fraction", "part of the training samples that is used", "--FLAG.help", "CamVid")),
        (["--data.source.help", "CamVid"], ("evaluated at 360×480", "--data.source.root", "in SegNet's layout")),
        (["--data.source.help", "Shapes"], ("--data.source.noise", "standard deviation of the pixels' noise")),
        (["--data.source.help", "own_cells.Cells"], ("--data.source.root",)),
    ],
)
def test_flags_are_explained(words: list[str], expected: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser_of(study).parse_args(["run", *words])  # type: ignore[arg-type]
    text = " ".join(capsys.readouterr().out.split())
    for part in expected:
        assert part in text


def test_what_is_no_source_is_refused() -> None:
    class Plain(SegmentationSource):
        class_names = ("a", "b")

        def split(self, name: str) -> Any:
            return Shapes().split("train")

    with pytest.raises(ValueError, match="source is a Plain: expected a SegmentationSource that is a dataclass"):
        SegmentationDataModule(Plain())
    with pytest.raises(ValueError, match="source is a ShapeImages: expected a SegmentationSource"):
        SegmentationDataModule(Shapes().split("train"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="augmentation is True: expected a function that makes the pipeline, or None"):
        SegmentationDataModule(Shapes(), augmentation=True)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="abstract"):
        SegmentationSource()  # type: ignore[abstract]


def test_a_source_without_class_names_is_refused() -> None:
    module: dict[str, Any] = {}
    exec(OWN.replace("    class_names = Shapes().class_names\n", ""), module)
    with pytest.raises(ValueError, match="Cells has no class_names: write the names of its classes in it"):
        SegmentationDataModule(module["Cells"](Path()))


def test_class_names_that_are_one_text_are_refused() -> None:
    """Refuse a text, as where the comma of a tuple is forgotten: its letters would be the classes."""
    module: dict[str, Any] = {}
    exec(OWN.replace("class_names = Shapes().class_names", 'class_names = ("cell")'), module)
    with pytest.raises(ValueError, match=r"class_names is the text 'cell': expected a tuple of names, such as \('background', 'cell'\)"):
        SegmentationDataModule(module["Cells"](Path()))


def test_names_of_classes_are_given_or_numbered() -> None:
    root = Path("folder")
    assert ImageMaskFolder(root, 3).class_names == ("class 0", "class 1", "class 2")
    assert ImageMaskFolder(root, 3, ("a", "b", "c")).class_names == ("a", "b", "c")


def test_an_augmentation_that_needs_an_argument_is_refused() -> None:
    def flips(p: float, q: float = 1) -> A.Compose:
        return A.Compose([A.HorizontalFlip(p=p * q)])

    with pytest.raises(ValueError, match="augmentation flips needs p: expected a function without arguments; give it defaults"):
        SegmentationDataModule(Shapes(), augmentation=flips)  # type: ignore[arg-type]
    assert SegmentationDataModule(Shapes(), augmentation=functools.partial(flips, 1)).augmentation is not None


def test_an_augmentation_of_a_class_or_a_file_makes_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study's own factories are built once to check them; those within the data are instances already."""
    monkeypatch.setattr(sys, "argv", ["own_cells.py"])
    A.save(A.Compose([A.HorizontalFlip(p=0.25)]), "pipeline.yaml", data_format="yaml")
    verbs = parser_of(question)
    for word, expected in {
        "light": LightAugmentation(),
        "strong": StrongAugmentation(),
        "default": default_augmentation,
        "none": None,
        "pipeline.yaml": AugmentationFile(Path("pipeline.yaml")),
    }.items():
        chosen = parse(verbs, ["run", "--data.augmentation", word])
        (plan,) = plans_of(question, chosen["run"], verbs.instantiate(chosen)["run"])
        assert plan.study.data.augmentation == expected
        again = parse(verbs, ["run", *plan.script.flags])
        assert plans_of(question, again["run"], verbs.instantiate(again)["run"])[0].study.data.augmentation == expected
    chosen = parse(verbs, ["run", "--data.augmentation", "own_cells.Flips", "--data.augmentation.p", "0.25"])
    made: Any = plans_of(question, chosen["run"], verbs.instantiate(chosen)["run"])[0].study.data.augmentation
    assert made.p == 0.25


def question(data: SegmentationDataModule = SegmentationDataModule(Shapes(num_train=4), batch_size=2)) -> Study:
    return Study("q", data=data, epochs=1, seeds=range(1), baseline="none", arms={"none": lambda: None})  # type: ignore[dict-item,return-value]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "lightt",
            "there is no augmentation 'lightt' (did you mean light?); expected default, light, strong, none, a YAML file, or the import path of a function",
        ),
        ("nowhere.yaml", "nowhere.yaml: no such file; expected a pipeline of albumentations: write it by albumentations' A.save"),
        ("light --data.augmentation.scale 0.5", "scale is 0.5: expected 1, which is off, or more"),
        ("light --data.augmentation.zoom 2", "--data.augmentation.zoom: light has no argument 'zoom'"),
        ("light --data.augmentation.rotate 2", "light has no argument 'rotate' (did you mean rotation?)"),
        ("none --data.augmentation.flip 0.1", "--data.augmentation.flip: none has no arguments"),
        ("own_cells.flips --data.augmentation.p 0.1", "--data.augmentation.p: own_cells.flips has no arguments"),
        ("own_cells.flipps", "--data.augmentation: own_cells has no function 'flipps' (did you mean "),
        ("own_cellss.flips", "--data.augmentation: there is no module 'own_cellss'; expected the import path of a function"),
        ("own_cells.__name__", "--data.augmentation: own_cells.__name__ is 'own_cells': expected a function"),
        ("decimal.Context", "--data.augmentation: decimal.Context is a class without __call__; expected a function"),
    ],
)
def test_an_augmentation_that_is_none_is_refused_in_words(words: str, message: str) -> None:
    parser = study_parser(study)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=re.escape(message)):
        parser.instantiate(parse(parser, ["--data.augmentation", *words.split()]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1", r"bad.yaml: holds no pipeline of albumentations, which begins with `transform:`: write it by"),
        ("a: [1", "bad.yaml: cannot be read: while parsing a flow sequence"),
        ("transform: {__class_fullname__: Compose, transforms: [{__class_fullname__: Flop, p: 1}]}", "albumentations has no step 'Flop'"),
        (
            "transform: {__class_fullname__: Compose, transforms: [{__class_fullname__: GaussNoise, p: 7}]}",
            "bad.yaml: .*p Input should be less than or equal to 1 .*: correct the file",
        ),
        (
            "transform: {__class_fullname__: my.Own, p: 1}",
            "bad.yaml: my.Own is no step of albumentations, and its code could not be recorded",
        ),
        ("\0", "bad.yaml: cannot be read"),
    ],
)
def test_a_file_that_holds_no_pipeline_is_refused(text: str, message: str) -> None:
    Path("bad.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        AugmentationFile(Path("bad.yaml"))


def test_the_content_of_a_file_is_recorded_and_its_place_and_layout_are_not() -> None:
    pipeline = A.Compose([A.HorizontalFlip(p=0.25), A.GaussNoise()])
    for name, form in (("one.yaml", "yaml"), ("two.yml", "yaml"), ("three.json", "json")):
        A.save(pipeline, name, data_format=form)
    A.save(A.Compose([A.HorizontalFlip(p=0.3), A.GaussNoise()]), "other.yaml", data_format="yaml")
    source = Shapes(num_train=4)
    one, two, three, other = (
        SegmentationDataModule(source, augmentation=AugmentationFile(Path(name))).identity()
        for name in ("one.yaml", "two.yml", "three.json", "other.yaml")
    )
    assert one == two == three != other
    assert repr(AugmentationFile(Path("one.yaml"))()) == repr(pipeline)
