"""`seglab export`: each file gives the network's logits on images of any size.

It is read without seglab where this is promised.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seglab.networks import TrainedNetwork, load, network
from seglab.prediction import formats
from seglab.prediction.card import Export, card
from seglab.prediction.export import checked
from seglab.prediction.formats import agreement, random_images
from seglab.records import Result, Run, StudyRecord, identity, write_record, write_result
from tests.prediction.conftest import Command

NOT_WRITTEN = {("DeepLabV3", "pt2"), ("DeepLabV3Plus", "pt2"), ("PSPNet", "onnx"), ("UPerNet", "onnx")}
"""Architectures, on this encoder, and formats that cannot hold them for every size. ONNX fails at pooling to a fixed
size, torch.export at a size that is divided and rounded up.
"""

SIZES = [(1, 64, 96), (3, 65, 79), (1, 130, 67)]


def trained(net: nn.Module, dtype: str | None = "uint8", classes: str = "abc") -> TrainedNetwork:
    torch.manual_seed(0)
    return TrainedNetwork(net, tuple(classes), (0.3, 0.4, 0.5), (0.2, 0.2, 0.3), dtype).eval()


def compare(this: TrainedNetwork, forward: Any) -> None:
    for number, rows, columns in SIZES:
        images = random_images(this, (number, 3, rows, columns), seed=rows)
        with torch.no_grad():
            expected = this(images)
            torch.testing.assert_close(forward(images), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with two exported files, and what the command has printed."""
    folder = tmp_path_factory.mktemp("exported")
    words = ["export", str(run), "--to", "pt2", "safetensors", "--output", str(folder)]
    done = subprocess.run([sys.executable, "-c", "from seglab.cli import main; main()", *words], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return folder, done.stdout


def test_a_program_and_weights_give_the_logits_of_the_network(exported: tuple[Path, str], run: Path) -> None:
    folder, out = exported
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "model.pt2", "model.safetensors"]
    assert out.count("of the classes agree (images of 128×192, 64×135, 253×69)") == 2
    net = load(run)
    files = {"seglab.json": ""}
    program = torch.export.load(folder / "model.pt2", extra_files=files)
    compare(net, program.module())
    again = load(folder / "model.safetensors")
    image = random_images(net, (2, 3, 33, 47), 0)
    with torch.no_grad():
        assert torch.equal(again(image), net(image))
    assert (again.class_names, again.image_dtype, again.palette) == (net.class_names, "uint8", net.palette)
    assert json.loads(files["seglab.json"])["class_names"] == list(net.class_names)
    assert str(Path.cwd()).encode() not in (folder / "model.pt2").read_bytes()


def test_the_program_of_the_card_runs_without_seglab(exported: tuple[Path, str], run: Path, tmp_path: Path) -> None:
    text = (exported[0] / "README.md").read_text()
    program = text.partition("```python\n")[2].partition("\n```")[0]
    image = random_images(load(run), (1, 3, 70, 90), 0)
    np.save(tmp_path / "image.npy", image.numpy())
    (tmp_path / "model.pt2").symlink_to(exported[0] / "model.pt2")
    program = program.replace("logits =", "image = torch.from_numpy(numpy.load('image.npy'))\nlogits =")
    program += "\nimport sys\nassert 'seglab' not in sys.modules\nnumpy.save('logits.npy', logits.detach().numpy())"
    done = subprocess.run([sys.executable, "-c", f"import numpy\n{program}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        assert np.allclose(np.load(tmp_path / "logits.npy"), load(run)(image).numpy(), atol=1e-4)


def test_the_card_says_what_there_is_to_know(exported: tuple[Path, str]) -> None:
    text = (exported[0] / "README.md").read_text()
    for line in (
        "# FPN on tu-test_resnet, 4 classes",
        "- Input: images (N,3,H,W) uint8, 0 to 255. Normalisation and padding are inside.",
        "- Output: logits (N,4,H,W) float32",
        "| 1 | disc | #",
        "mask = seglab.load('model.safetensors').predict(image)",
        "The checkpoint lies in no folder of a run",
    ):
        assert line in text, line


@pytest.mark.parametrize("dtype", ["uint8", "uint16", None])
@pytest.mark.parametrize("kind", ["pt2", "onnx"])
def test_images_are_those_of_the_training(kind: str, dtype: str | None) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    _, found = checked(trained(nn.Conv2d(3, 3, 3, padding=1), dtype), kind)
    assert found.pixels > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pt2", "onnx"])
@pytest.mark.parametrize(
    "architecture",
    [
        *("Unet", "DeepLabV3Plus", "Segformer"),
        *(
            pytest.param(name, marks=pytest.mark.weekly)
            for name in ("UnetPlusPlus", "FPN", "Linknet", "DeepLabV3", "PSPNet", "UPerNet", "MAnet")
        ),
    ],
)
def test_every_architecture(architecture: str, kind: str, tmp_path: Path) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    this = trained(network(architecture, "tu-test_resnet", num_classes=3))
    if (architecture, kind) in NOT_WRITTEN:
        with pytest.raises(ValueError, match="; another format may hold it: pt2, onnx, or safetensors") as raised:
            checked(this, kind)
        assert "\n" not in str(raised.value)
        return
    content, _ = checked(this, kind)
    (tmp_path / f"model.{kind}").write_bytes(content)
    compare(this, formats.FORMATS[kind].read(tmp_path / f"model.{kind}"))


class Shifted(nn.Module):
    """A network of one logit."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.conv(image)
        return logits


def test_one_logit_is_exported_as_one() -> None:
    _, found = checked(trained(Shifted(), classes="ab"), "pt2")
    assert found.sizes[0][0] == 1


def test_a_file_that_gives_other_logits_is_refused() -> None:
    this = trained(nn.Conv2d(3, 3, 1))
    with pytest.raises(ValueError, match="the exported file gives other logits"):
        agreement(this, lambda images: this(images) * 1.001)
    with pytest.raises(ValueError, match="logits of the shape"):
        agreement(this, lambda images: this(images)[..., 1:])
    with pytest.raises(ValueError, match="gives other logits"):
        agreement(this, lambda images: this(images) * torch.nan)


class Fixed(nn.Module):
    """A network that depends on values, which no graph can hold."""

    def forward(self, image: Tensor) -> Tensor:
        return image if image.sum() > 0 else -image


def test_a_network_that_cannot_be_traced_is_refused_in_one_line() -> None:
    with pytest.raises(
        ValueError, match=r"the Fixed cannot be written for images of any size .*safetensors, which holds the weights of every network"
    ) as raised:
        checked(trained(Fixed()), "pt2")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "tflite"], "--to: element 1: expected one of 'onnx', 'pt2', 'safetensors', got tflite"),
        (["--to"], "--to: a value is missing"),
        (["--too", "pt2"], "there is no flag --too (did you mean --to?)"),
        ([], "error: seglab export needs --to FORMAT; --help explains them\n"),
        (["--to", "pt2", "--output", "busy"], "busy holds notes.txt, which this export does not write"),
        (["--to", "pt2", "--output", "busy/notes.txt"], "notes.txt is a file; expected a folder"),
    ],
)
def test_bad_input_is_one_line(
    command: Command, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy" / "notes.txt").write_text("mine")
    ended = command("export", run, *words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert message in ended.err
    assert [file.name for file in (tmp_path / "busy").iterdir()] == ["notes.txt"]


def test_a_description_that_is_damaged_is_said(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"network.x": torch.zeros(1)}, tmp_path / "model.safetensors", {"seglab": "{"})
    with pytest.raises(ValueError, match="its description is damaged"):
        load(tmp_path / "model.safetensors")


def test_the_card_of_a_study_has_its_command_and_the_scores_of_its_arm(run: Path, tmp_path: Path) -> None:
    """By hand: 0.5, 0.6, 0.7 have mean 0.6 and standard deviation 0.1, so half the interval is 0.2484.

    The t of 2 degrees of freedom is 4.3027.
    """
    record = StudyRecord(
        "s", "a", "test/miou", {"data": {"source": {"class": "seglab.Shapes"}, "splits": {}}}, {"a": {"loss": "CE"}, "b": {}}
    )
    write_record(tmp_path, record)
    for arm, seed, miou in (("a", 0, 0.5), ("a", 1, 0.6), ("a", 2, 0.7), ("b", 0, 0.1)):
        of_run = Run("s", arm, seed)
        of_run.directory(tmp_path).mkdir(parents=True)
        result = Result(of_run, identity(record, of_run), ("x",), {}, {"miou": miou}, {}, {}, "abc123", "0.2.0")
        write_result(of_run.directory(tmp_path) / "result.json", result)
    folder = Run("s", "a", 0).directory(tmp_path)
    (folder / "settings.yaml").write_text("command: [python, my.py, run, --arm, a]")
    shutil.copytree(run / "checkpoints", folder / "checkpoints")
    checkpoint = folder / "checkpoints" / "last.ckpt"
    text = card(Export(checkpoint, "0", load(checkpoint), {}))
    for line in (
        "Arm `a` of the study `s`, seed 0, by seglab 0.2.0. Commit `abc123`.",
        "python my.py run --arm a",
        "class: seglab.Shapes",
        "loss: CE",
        "mean of the arm over 3 seeds, with its 95 % t interval",
        "| test/miou (%) | 50.00 | 60.00 | 35.16 to 84.84 |",
    ):
        assert line in text, line
    shutil.copy(checkpoint, checkpoint.with_name("best.ckpt"))
    best = card(Export(checkpoint.with_name("best.ckpt"), "0", load(checkpoint), {}))
    assert "Not known: those of the run are of `last.ckpt`." in best
    assert "50.00" not in best
