"""`seglab predict`: masks are the network's, complete and predicted once, and each error is one line."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import seglab
from seglab import CrossEntropy, ImageMaskFolder, SegmentationDataModule, SegmentationModule, Shapes, TrainedNetwork, Windows
from seglab.data.reading.read import read_image
from seglab.networks import load, network
from seglab.prediction.images import named_images
from seglab.prediction.outputs import write_mask
from seglab.prediction.views import Views
from seglab.windows import bands
from tests.prediction.conftest import Command
from tests.trainers import quiet_trainer

NAMES = {"a": "a.png", "b": "b.jpg", "grey": "grey.png", "more/a": "more/a.png"}


def mask_of(file: Path) -> Any:
    return np.array(Image.open(file))


def expected(run: Path, file: Path) -> Any:
    image = read_image(file)
    return load(run).predict(np.repeat(image, 3, 2) if image.shape[2] == 1 else image)


def files_in(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_a_folder_is_predicted_as_by_python(command: Command, run: Path, images: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    ended = command("predict", run, images, "--output", output)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "images keep their own size, as in the training; masks have the size of the images",
        f"4 predicted: {output / 'masks'}",
    ]
    assert files_in(output) == {"prediction.json", "classes.csv", *(f"masks/{name}.png" for name in NAMES)}
    for name, file in NAMES.items():
        assert np.array_equal(mask_of(output / "masks" / f"{name}.png"), expected(run, images / file)), name
    picture = Image.open(output / "masks" / "a.png")
    colours = Shapes(num_shapes=3).palette
    assert (picture.mode, picture.size) == ("P", (60, 40))
    assert picture.getpalette()[:12] == colours.flatten().tolist()  # type: ignore[index]
    rows = list(csv.reader((output / "classes.csv").read_text().splitlines()))
    assert rows[1] == ["0", "background", *map(str, colours[0])]
    assert [row[1] for row in rows[1:]] == ["background", "disc", "square", "triangle"]


def test_python_predicts_arrays_and_tensors(run: Path) -> None:
    net = seglab.load(run)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    with torch.no_grad():
        classes = net(tensor).argmax(1)
    assert torch.equal(net.predict(tensor), classes)
    assert net.predict(image).dtype == np.uint8
    assert net.predict(image).shape == (40, 60)
    image.flags.writeable = False
    assert np.array_equal(net.predict(image), classes[0].numpy())
    assert np.array_equal(net.predict(image[:, ::-1]), net.predict(image[:, ::-1].copy()))
    assert np.array_equal(net.predict(image / 255), classes[0].numpy())
    assert np.array_equal(net.predict(image, Windows((64, 64))), classes[0].numpy())
    grey = image[..., :1]
    assert np.array_equal(net.predict(grey[..., 0]), net.predict(grey.repeat(3, axis=2)))
    windows = Windows((16, 16))
    assert np.array_equal(net.predict(image, windows), net.predict(tensor, windows)[0].numpy())
    for wrong, message in (
        (image[..., :2], r"shape \(1, 2, 40, 60\): expected \(N,3,H,W\)"),
        (image[0, 0], r"shape \(3,\): expected \(H,W,3\)"),
        (image.astype(np.int32), "images are torch.int32"),
    ):
        with pytest.raises(ValueError, match=message):
            net.predict(wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            Image.fromarray,
            r"the image is a PIL\.Image\.Image: expected an array \(H,W,3\) or a tensor \(N,3,H,W\)\. Give np\.asarray\(image\)$",
        ),
        (lambda _: "a.png", r"the image is a str: expected an array .* Read the file, as by np\.asarray\(PIL\.Image\.open\(file\)\)"),
        (lambda _: Path("a.png"), r"the image is a pathlib\.PosixPath: expected .* Read the file"),
        (lambda image: image.tolist(), r"the image is a list: expected .* Give the pixels of one image, as by np\.asarray\(image\)$"),
        (lambda image: [image, image], "the image is a list: expected"),
        (lambda _: None, "the image is a NoneType: expected"),
        (lambda image: image[:0], r"the image has 0×24 pixels \(rows × columns\): expected at least one"),
        (lambda image: image[:, :0], "the image has 16×0 pixels"),
        (lambda _: torch.zeros(1, 3, 0, 8, dtype=torch.uint8), "the image has 0×8 pixels"),
        (lambda _: torch.zeros(3, 8), r"images have the shape \(3, 8\): expected \(N,3,H,W\)"),
        (lambda image: image.astype(object), "the image is an array of object: expected uint8, uint16 or floats"),
        (lambda image: image.astype(np.longdouble), "the image is an array of (float128|longdouble): expected uint8"),
        (lambda image: image.astype(str), "the image is an array of <U3: expected uint8"),
        (lambda image: image.astype(">i4"), "images are torch.int32: expected"),
    ],
)
@pytest.mark.parametrize(("size", "windows"), [(None, None), ((32, 32), None), (None, Windows((8, 8)))])
def test_python_refuses_what_is_no_image_in_one_line(
    run: Path, make: Any, message: str, size: tuple[int, int] | None, windows: Windows | None
) -> None:
    net = seglab.load(run)
    net.size = size
    with pytest.raises(ValueError, match=message) as raised:
        net.predict(make(np.zeros((16, 24, 3), np.uint8)), windows)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["u2", "f4", "f8"])
def test_python_predicts_arrays_of_any_byte_order(run: Path, kind: str) -> None:
    net = seglab.load(run)
    values = np.random.default_rng(0).integers(0, 2**16, (40, 60, 3))
    image = values.astype("u2") if kind == "u2" else (values / 65535).astype(kind)
    with torch.no_grad():
        classes = net(torch.from_numpy(image.copy()).permute(2, 0, 1)[None]).argmax(1)[0]
    assert len(classes.unique()) > 1
    for order in "<>=":
        assert np.array_equal(net.predict(image.astype(f"{order}{kind}")), classes.numpy())


def test_logits_that_are_no_numbers_are_no_class(run: Path) -> None:
    net = seglab.load(run)
    net.network.get_parameter("segmentation_head.0.bias").data.fill_(torch.nan)
    with pytest.raises(ValueError, match="logits that are NaN"):
        net.predict(np.zeros((32, 32, 3), np.uint8))


def test_windows_views_overlays_and_probabilities(command: Command, run: Path, images: Path, tmp_path: Path) -> None:
    """The outputs agree with each other and with the average over views written out here."""
    words = ["--window", "[16,24]", "--overlap", 0.25, "--flips", "both", "--scales", "[1,0.5]", "--overlays", "--probabilities"]
    ended = command("predict", run / "checkpoints" / "last.ckpt", images / "a.png", "--output", tmp_path / "out", *words)
    assert (ended.code, ended.err) == (0, "")
    assert files_in(tmp_path / "out") == {"prediction.json", "classes.csv", "masks/a.png", "overlays/a.png", "probabilities/a.npz"}
    mask = mask_of(tmp_path / "out" / "masks" / "a.png")
    with np.load(tmp_path / "out" / "probabilities" / "a.npz") as archive:
        found = archive["probabilities"]
    assert (found.dtype, found.shape) == (np.float16, (40, 60, 4))
    assert np.allclose(found.astype(float).sum(2), 1, atol=2e-3)
    net, image = load(run), torch.from_numpy(read_image(images / "a.png")).permute(2, 0, 1)[None]
    with torch.no_grad():
        logits = torch.cat(list(bands(Views("both", (1, 0.5)).averaged(net), image, Windows((16, 24), 0.25))), 2)
    assert np.array_equal(mask, logits.argmax(1)[0].numpy())
    assert np.allclose(found, logits.softmax(1)[0].permute(1, 2, 0).numpy(), atol=1e-3)
    overlay = np.array(Image.open(tmp_path / "out" / "overlays" / "a.png")).astype(int)
    colours = Shapes(num_shapes=3).palette[mask].astype(int)
    assert np.array_equal(overlay, (read_image(images / "a.png").astype(int) + colours) // 2)


def test_images_are_resized_as_in_the_training_and_scored_so(command: Command, tmp_path: Path) -> None:
    """The masks are those that the evaluation of the training counts, although it resizes the images."""
    folder = tmp_path / "data"
    random = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for kind, shape in (("images", (30, 44, 3)), ("masks", (30, 44))):
            (folder / split / kind).mkdir(parents=True)
            for name in "ab":
                pixels = random.integers(0, 256 if kind == "images" else 3, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / kind / f"{name}.png")
    torch.manual_seed(0)
    data = SegmentationDataModule(ImageMaskFolder(folder, 3), batch_size=2, size=(16, 24), num_workers=0)
    module = SegmentationModule(network("FPN", "tu-test_resnet", num_classes=3), CrossEntropy(), num_classes=3)
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    counted: Any = torch.cat(trainer.predict(module.eval(), datamodule=data))  # type: ignore[arg-type]
    ended = command("predict", tmp_path / "last.ckpt", folder / "test" / "images", "--output", tmp_path / "out", "--device", "cpu")
    assert ended.out.startswith("images are resized to 16×24, as in the training; masks have the size of the images\n")
    found = [mask_of(tmp_path / "out" / "masks" / f"{name}.png") for name in "ab"]
    assert np.array_equal(np.stack(found), counted.numpy())
    batch = torch.stack([torch.from_numpy(read_image(folder / "test" / "images" / f"{name}.png")).permute(2, 0, 1) for name in "ab"])
    assert torch.equal(load(tmp_path / "last.ckpt").predict(batch), counted)
    words = ("predict", tmp_path / "last.ckpt", folder / "test" / "images", "--device", "cpu", "--output")
    assert command(*words, tmp_path / "own", "--size", "null").out.startswith("images keep their own size, as you ask")
    assert command(*words, tmp_path / "given", "--size", "[16,24]").out.startswith("images are resized to 16×24, as you ask")
    own, given = (mask_of(tmp_path / name / "masks" / "a.png") for name in ("own", "given"))
    assert np.array_equal(given, found[0])
    assert own.shape == given.shape
    assert not np.array_equal(own, given)
    assert "size: [16, 24] → None" in command(*words, tmp_path / "given", "--size", "null").err


def test_views_average_probabilities(run: Path) -> None:
    net, image = load(run), torch.randint(0, 256, (1, 3, 32, 64), dtype=torch.uint8)
    with torch.no_grad():
        assert Views().averaged(net) is net
        flipped = (net(image).softmax(1) + net(image.flip(-1)).flip(-1).softmax(1)) / 2
        torch.testing.assert_close(Views("horizontal").averaged(net)(image).softmax(1), flipped, rtol=1e-4, atol=1e-6)
        small = torch.nn.functional.interpolate(image / 255, (16, 32), mode="bilinear", antialias=True)
        large = torch.nn.functional.interpolate(net(small.clamp(0, 1)), (32, 64), mode="bilinear").softmax(1)
        torch.testing.assert_close(Views(scales=(0.5,)).averaged(net)(image).softmax(1), large, rtol=1e-4, atol=1e-6)


def test_views_of_one_logit_average_its_probability() -> None:
    torch.manual_seed(0)
    net = TrainedNetwork(torch.nn.Conv2d(3, 1, 3, padding=1), "ab", (0.5,), (0.2,)).eval()
    image = torch.rand(1, 3, 9, 11)
    with torch.no_grad():
        mean = (net(image).sigmoid() + net(image.flip(-1)).flip(-1).sigmoid()) / 2
        torch.testing.assert_close(Views("horizontal").averaged(net)(image).sigmoid(), mean)
    assert np.array_equal(net.predict(image), (net(image)[:, 0] > 0).numpy())


def test_what_is_done_is_skipped_and_what_has_changed_is_not(command: Command, run: Path, images: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    words = ("predict", run, images, "--output", output)
    command(*words)
    times = {name: (output / "masks" / f"{name}.png").stat().st_mtime_ns for name in NAMES}
    (output / "masks" / "b.png").unlink()
    (output / "masks" / "grey.png").write_bytes((output / "masks" / "grey.png").read_bytes()[:20])
    Image.fromarray(np.zeros((5, 6, 3), np.uint8)).save(images / "more" / "a.png")
    ended = command(*words)
    assert "3 predicted, 1 were done" in ended.out
    assert (output / "masks" / "a.png").stat().st_mtime_ns == times["a"]
    for name, file in NAMES.items():
        assert np.array_equal(mask_of(output / "masks" / f"{name}.png"), expected(run, images / file)), name
    assert "4 were done" in command(*words).out
    assert "4 predicted" in command(*words, "--overlays").out
    assert "4 were done" in command(*words).out


def test_masks_of_another_prediction_are_not_mixed(command: Command, run: Path, images: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    command("predict", run, images, "--output", output)
    ended = command("predict", run, images, "--output", output, "--window", "[16,16]")
    assert ended.code == 2
    assert "holds masks of another prediction (window: None → [16, 16]; overlap: None → 0.5): give another folder" in ended.err
    other = tmp_path / "other.ckpt"
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save({**content, "epoch": 7}, other)
    assert "checkpoint_sha256" in command("predict", other, images, "--output", output).err
    copied = shutil.copytree(run, tmp_path / "copy")
    assert command("predict", copied, images, "--output", output).code == 0, "the same file elsewhere"


def test_images_that_cannot_be_read_are_named_and_others_go_on(command: Command, run: Path, images: Path, tmp_path: Path) -> None:
    (images / "aa.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (images / "x.heic").write_bytes(b"\0\0\0\x18ftypheic")
    np.save(images / "float.npy", np.full((8, 8, 3), 200.0, np.float32))
    ended = command("predict", run, images, "--output", tmp_path / "out")
    assert ended.code == 1
    assert "4 predicted, 3 failed" in ended.out
    lines = ended.err.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == [str(images / name) for name in ("aa.png", "float.npy", "x.heic")]
    assert "cannot be read as an image" in lines[0]
    assert lines[0].endswith(": replace the file, or remove it"), "there is no mask to remove"
    assert "values from 200 to 200: expected 0 to 1" in lines[1]
    assert "HEIC" in lines[2]
    assert files_in(tmp_path / "out" / "masks") == {f"{name}.png" for name in NAMES}


def test_nothing_below_a_folder_is_left_out_in_silence(command: Command, run: Path, images: Path, tmp_path: Path) -> None:
    """Each entry is predicted or named. Hidden files, other endings and links to a folder around them are left out."""
    store = shutil.copytree(images / "more", tmp_path / "store")
    for name in ("CAPITALS.PNG", "named.png/inside.png", ".git/hidden.png"):
        (images / name).parent.mkdir(exist_ok=True)
        shutil.copy(images / "a.png", images / name)
    targets: dict[str, str | Path] = {
        "dangling.png": "nowhere",
        "loop.png": "loop.png",
        "good.png": store / "a.png",
        "linked": store,
        "up": "..",
        ".gone.png": "nowhere",
    }
    for name, target in targets.items():
        (images / name).symlink_to(target)
    os.mkfifo(images / "pipe.tif")
    (images / "x.jp2").write_bytes(b"")
    ended = command("predict", run, images, "--output", tmp_path / "out")
    assert ended.code == 1
    assert "8 predicted, 4 failed" in ended.out
    lines = ended.err.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == [
        str(images / name) for name in ("dangling.png", "loop.png", "pipe.tif", "x.jp2")
    ]
    assert "No such file or directory" in lines[0]
    assert "Too many levels of symbolic links" in lines[1]
    predicted = {*NAMES, "CAPITALS", "named.png/inside", "good", "linked/a"}
    assert files_in(tmp_path / "out" / "masks") == {f"{name}.png" for name in predicted}
    for word in ("dangling.png", "loop.png"):
        ended = command("predict", run, images / word, images / "a.png", "--output", tmp_path / "out")
        assert (ended.code, ended.err.count(str(images / word))) == (1, 1)


def test_a_subfolder_that_cannot_be_listed_is_refused(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (images / "more").chmod(0)
    monkeypatch.chdir(images)  # below a folder that only the superuser may enter
    own = os.geteuid()
    try:
        if own == 0:
            os.seteuid(65534)  # the superuser may list everything
        with pytest.raises(ValueError, match=r"more: this folder cannot be listed \(Permission denied\): correct its permissions"):
            named_images(["."], Path("out"))
    finally:
        os.seteuid(own)
        (images / "more").chmod(0o755)


def four_channels(file: Path) -> None:
    tifffile.imwrite(file, np.zeros((8, 8, 4), np.uint8), photometric="minisblack", planarconfig="contig")


def test_an_image_of_other_channels_in_the_middle_is_named(command: Command, run: Path, images: Path, tmp_path: Path) -> None:
    """Name it and go on, the first time and again; refuse a new output whose first image does not fit."""
    output = tmp_path / "out"
    four_channels(images / "aa.tif")
    for counts in ("4 predicted, 1 failed", "0 predicted, 4 were done, 1 failed"):
        ended = command("predict", run, images, "--output", output)
        assert (ended.code, ended.err.count("\n")) == (1, 1)
        assert f"{images / 'aa.tif'}: has 4 channels, and the network takes 3" in ended.err
        assert counts in ended.out
    assert files_in(output / "masks") == {f"{name}.png" for name in NAMES}
    four_channels(images / "0.tif")
    assert "0 predicted, 4 were done, 2 failed" in command("predict", run, images, "--output", output).out
    for words in ((images, "--output", tmp_path / "new"), (images / "0.tif", images / "aa.tif", "--output", output)):
        ended = command("predict", run, *words)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert f"{images / '0.tif'}: has 4 channels" in ended.err
    assert not (tmp_path / "new").exists()
    shutil.rmtree(output / "masks")  # a stop before the first mask
    assert command("predict", run, images, "--output", output).code == 2


def test_an_output_that_cannot_be_written_is_named_and_others_go_on(command: Command, run: Path, images: Path, tmp_path: Path) -> None:
    """Long names up to the limit are predicted; a longer one, and a target that is a folder, are named."""
    output = tmp_path / "out"
    long = ["é" * 125, "a" * 251]
    for name in (*(f"{name}.png" for name in long), "a" * 253, "c.jpg", "c.png/d.png", "z.png"):
        (images / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(images / name, format="PNG")
    words = ("predict", run, images, images / ("a" * 253), "--output", output, "--overlays", "--probabilities")
    ended = command(*words)
    assert ended.code == 1
    assert "8 predicted, 2 failed" in ended.out
    lines = ended.err.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == [str(images / name) for name in ("c.png/d.png", "a" * 253)]
    assert "its result cannot be written (File exists: " in lines[0]
    assert "File name too long" in lines[1]
    assert all("rename the image" in line for line in lines)
    assert files_in(output / "masks") == {f"{name}.png" for name in (*NAMES, *long, "c", "z")}
    (output / "masks" / "z.png").unlink()
    (output / "masks" / "z.png").mkdir()
    ended = command(*words)
    assert "0 predicted, 7 were done, 3 failed" in ended.out
    assert f"{images / 'z.png'}: its result cannot be written (Is a directory: {output / 'masks' / 'z.png'})" in ended.err


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 2), (errno.EACCES, 2), (errno.EROFS, 2), (errno.ENAMETOOLONG, 1)])
def test_an_error_of_the_whole_output_stops_at_once(
    command: Command, run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    calls: list[Path] = []

    def fail(path: Path, *_: object) -> None:
        calls.append(path)
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("seglab.prediction.predict.write_mask", fail)
    ended = command("predict", run, images, "--output", tmp_path / "out", "--device", "cpu")
    assert (ended.code, len(calls)) == (code, 1 if code == 2 else 4)
    assert os.strerror(number) in ended.err


def test_an_image_that_vanishes_while_it_is_predicted_is_named(
    command: Command, run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish_and_write(path: Path, mask: Any, palette: Any, image: Path) -> None:
        if image.name == "b.jpg":
            image.unlink()
        write_mask(path, mask, palette, image)

    monkeypatch.setattr("seglab.prediction.predict.write_mask", vanish_and_write)
    ended = command("predict", run, images, "--output", tmp_path / "out", "--device", "cpu")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert f"{images / 'b.jpg'}: cannot be read again after its prediction (No such file or directory)" in ended.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere/*.png"], "nowhere/*.png: no such file or folder, and no file fits it as a pattern; expected images"),
        (["empty"], "empty: no images in it"),
        (["images/a.png", "images/more/a.png"], "images/a.png and images/more/a.png would both become a.png: rename one"),
        (["images/**/*.png"], "would both become a.png"),
        (["four.tif"], "four.tif: has 4 channels, and the network takes 3"),
        (["four.tif", "images"], "four.tif: has 4 channels"),
        (["images", "--window", "[0,5]"], "window is [0, 5]: expected rows and columns"),
        (["images", "--window", "512"], "--window"),
        (["images", "--size", "[0,5]"], "--size: is [0, 5], expected rows and columns of at least 1"),
        (["images", "--size", "small"], "--size"),
        (["images", "--overlap", "1", "--window", "[8,8]"], "overlap is 1.0: expected 0 to below 1"),
        (["images", "--scales", "[0]"], "scales are [0.0]: expected factors above 0"),
        (["images", "--scales", "[]"], "scales"),
        (["images", "--flips", "up"], "--flips: expected one of 'none', 'horizontal', 'both', got up"),
        (["images", "--half"], "--half: 16 bits are for a GPU"),
        (["images", "--device", "tpu9"], "--device tpu9: there is no such device here"),
        (["images", "--device", "cuda:99"], "--device cuda:99: there is no such device here"),
        (["images", "--windows", "[8,8]"], "--windows"),
        (["images", "--window", "512,512,512"], "--window: expected 2 values in one word, INT,INT, as in --window 96,128; got 512,512,512"),
        (["images", "--size", "5"], "--size: expected INT,INT, as in --size 96,128, or training; got 5"),
        (["images", "--scale", "1"], "there is no flag --scale (did you mean --scales?)"),
        ([], "error: seglab predict needs IMAGES; --help explains them\n"),
    ],
)
def test_bad_input_is_one_line(
    command: Command, run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    four_channels(tmp_path / "four.tif")
    ended = (
        command("predict", run, *words, "--device", "cpu", "--output", "out")
        if "--device" not in words
        else command("predict", run, *words, "--output", "out")
    )
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1, ended.err
    assert message in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "needed"),
    [([], "CKPT and IMAGES and --output D"), (["run"], "IMAGES and --output D"), (["run", "a.png"], "--output D")],
)
def test_what_is_missing_is_named_as_it_is_typed(command: Command, words: list[str], needed: str) -> None:
    ended = command("predict", *words)
    assert (ended.code, ended.err) == (2, f"error: seglab predict needs {needed}; --help explains them\n")


@pytest.mark.parametrize(
    ("typed", "recorded"),
    [
        (["--window", "32,32", "--scales", "0.75,1"], {"window": [32, 32], "scales": [0.75, 1.0], "size": None}),
        (["--size", "48,32"], {"size": [48, 32]}),
        (["--size", "[48,32]"], {"size": [48, 32]}),
        (["--size", "None", "--window=[32,32]"], {"size": None, "window": [32, 32]}),
    ],
)
def test_lists_are_one_word_as_in_every_command(
    command: Command, run: Path, images: Path, tmp_path: Path, typed: list[str], recorded: dict[str, object]
) -> None:
    ended = command("predict", run, images / "b.jpg", "--device", "cpu", "--output", tmp_path / "out", *typed)
    assert ended.code == 0, ended.err
    settings = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert {name: settings[name] for name in recorded} == recorded


def test_a_checkpoint_that_cannot_be_loaded_is_one_line(command: Command, images: Path, tmp_path: Path) -> None:
    ended = command("predict", tmp_path, images, "--output", tmp_path / "out")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "has no checkpoints/last.ckpt" in ended.err


@pytest.mark.parametrize("content", ["other", "file"])
def test_an_output_that_holds_other_things_is_left_alone(command: Command, run: Path, images: Path, tmp_path: Path, content: str) -> None:
    output = images if content == "other" else images / "a.png"
    before = {name: (images / name).read_bytes() for name in files_in(images)}
    ended = command("predict", run, images / "b.jpg", "--output", output)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "holds no prediction" in ended.err
    assert {name: (images / name).read_bytes() for name in files_in(images)} == before


def test_an_output_below_the_images_is_no_image(command: Command, run: Path, images: Path) -> None:
    for _ in range(2):
        assert command("predict", run, images, "--output", images / "predicted", "--overlays").code == 0
    assert files_in(images / "predicted" / "masks") == {f"{name}.png" for name in NAMES}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_keeps_what_is_done(
    command: Command, run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    written: list[Path] = []

    def write_and_stop(path: Path, mask: Any, palette: Any, image: Path) -> None:
        write_mask(path, mask, palette, image)
        written.append(path)
        if len(written) == 2:
            signal.raise_signal(number)

    words = ("predict", run, images, "--output", tmp_path / "out", "--device", "cpu")
    monkeypatch.setattr("seglab.prediction.predict.write_mask", write_and_stop)
    assert command(*words)[::2] == (75, "interrupted; the same command again goes on\n")
    assert files_in(tmp_path / "out") == {"prediction.json", "classes.csv", "masks/a.png", "masks/b.png"}
    assert "2 predicted, 2 were done" in command(*words).out


@pytest.mark.weekly
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_leaves_whole_files_and_the_same_command_goes_on(run: Path, tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(40):
        Image.fromarray(random.integers(0, 256, (256, 256, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    words = ["predict", str(run), str(folder), "--output", str(tmp_path / "out"), "--probabilities", "--device", "cpu"]
    program = [sys.executable, "-c", "import sys; from seglab.cli import main; sys.argv[0] = 'seglab'; main()", *words]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and len(list(tmp_path.glob("out/masks/*.png"))) < 3:
        time.sleep(0.02)
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (75, "interrupted; the same command again goes on")
    files = files_in(tmp_path / "out")
    assert not [name for name in files if name.endswith(".part")]
    masks = [name for name in files if name.startswith("masks/")]
    assert 3 <= len(masks) < 40
    for name in masks:
        assert mask_of(tmp_path / "out" / name).shape == (256, 256)
    done = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{40 - len(masks)} predicted, {len(masks)} were done" in done.stdout


def test_the_record_says_what_the_masks_are_of(command: Command, run: Path, images: Path, tmp_path: Path) -> None:
    command("predict", run, images, "--output", tmp_path / "out", "--window", "[32,32]")
    settings = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert settings["checkpoint"] == str(run / "checkpoints" / "last.ckpt")
    assert (settings["window"], settings["overlap"], settings["flips"], settings["scales"]) == ([32, 32], 0.5, "none", [1.0])


def test_a_mask_is_turned_as_its_image_is_shown(command: Command, run: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "turned.jpg", exif=exif)
    command("predict", run, tmp_path / "turned.jpg", "--output", tmp_path / "out")
    assert mask_of(tmp_path / "out" / "masks" / "turned.png").shape == (30, 20)
