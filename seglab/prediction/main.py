"""The command line of `seglab predict`. torch is imported only once the flags are parsed."""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from seglab.exit_codes import DONE, FAILED
from seglab.interruption import sigterm_as_ctrl_c
from seglab.script.command_line import parse
from seglab.script.errors import exit_code
from seglab.script.help import Help

if TYPE_CHECKING:
    import torch


def main(words: Sequence[str]) -> NoReturn:
    """Predict and exit: 0 done, 1 an image could not be predicted, 2 bad input, 75 interrupted."""
    with sigterm_as_ctrl_c():
        sys.exit(exit_code(lambda: predict(parse(_parser(), words))))


def predict(given: Namespace) -> int:
    """Predict the images of a command line, and return an exit code.

    Raises:
        ValueError: the request cannot be fulfilled; nothing has been written.
        OSError: no file can be written, such as on a full disk.
    """
    output = Path(given.output)
    from seglab.networks.checkpoint import checkpoint_file, load
    from seglab.prediction.images import check_channels, named_images
    from seglab.prediction.outputs import Outputs, settle
    from seglab.prediction.predict import Predictor, predict_all
    from seglab.prediction.views import Views
    from seglab.windows import Windows

    windows = None if given.window is None else Windows(given.window, given.overlap)
    views = Views(given.flips, given.scales)
    images = named_images(given.images, output)
    device = device_of(given.device)
    if given.half and device.type == "cpu":
        raise ValueError("--half: 16 bits are for a GPU, and this prediction runs on the CPU: leave the flag out")
    checkpoint = checkpoint_file(Path(given.checkpoint))
    network = load(checkpoint).to(device)
    if given.size != "training":
        network.size = None if given.size is None else checked_size(given.size)
    predictor = Predictor(network, windows, views, given.half)
    settings = {
        "checkpoint": str(checkpoint),
        "checkpoint_sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "size": None if network.size is None else list(network.size),
        "window": None if windows is None else list(windows.size),
        "overlap": None if windows is None else windows.overlap,
        "flips": views.flips,
        "scales": list(views.scales),
        "half": given.half,
    }
    outputs = Outputs(output, given.overlays, given.probabilities)
    check_channels(images, network.in_channels, is_first=not outputs.has_masks())
    settle(output, settings, network.class_names, predictor.palette)
    console = Console(width=None if sys.stdout.isatty() else 120)
    how = "as in the training" if given.size == "training" else "as you ask"
    size = "keep their own size" if network.size is None else f"are resized to {network.size[0]}×{network.size[1]}"
    console.print(f"images {size}, {how}; masks have the size of the images", highlight=False)
    columns = (
        TextColumn("predicting"),
        BarColumn(),
        TextColumn("{task.completed:.1f}/{task.total}"),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(images))
        predicted, problems = predict_all(predictor, images, outputs, lambda done: bar.update(task, completed=done))
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    done = len(images) - predicted - len(problems)
    counts = [f"{predicted} predicted", *([f"{done} were done"] if done else []), *([f"{len(problems)} failed"] if problems else [])]
    console.print(f"{', '.join(counts)}: {output / 'masks'}", highlight=False, soft_wrap=True)
    return FAILED if problems else DONE


def checked_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return a size; raise a ValueError if there are no rows or columns."""
    if min(size) < 1:
        raise ValueError(f"--size: is {list(size)}, expected rows and columns of at least 1, or null for the images' own size")
    return size


def device_of(word: str) -> "torch.device":
    """Return the device that `--device` names; "auto" is the first GPU if there is one.

    Raises:
        ValueError: there is no such device.
    """
    import torch

    if word == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(word)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"--device {word}: there is no such device here ({str(error).splitlines()[0]}): expected auto, cpu or cuda"
        ) from None
    return device


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="seglab predict",
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=Help,
        description="Predict masks of images of any size with a trained network. Each mask is a palette PNG of class indices, D/masks/NAME.png, "
        "of its image's size. Images that are done are skipped. Exit codes: 0 done, 1 an image could not be predicted, 2 bad input.",
    )
    parser.add_argument("checkpoint", type=str, metavar="CKPT", help="a checkpoint, or the folder of a run, such as runs/l2/none/seed-0")
    parser.add_argument("images", type=str, nargs="+", metavar="IMAGES", help='files, folders, or patterns such as "D/**/*.png"')
    parser.add_argument("--output", type=str, required=True, metavar="D", help="the folder of the masks")
    parser.add_argument(
        "--window",
        type=tuple[int, int] | None,
        default=None,
        help="rows and columns of overlapping windows, such as 512,512; default: none",
    )
    parser.add_argument(
        "--size",
        type=tuple[int, int] | Literal["training"] | None,
        default="training",
        help="rows and columns to which images are resized before; null keeps their own; default: those of the training. Masks have the images' size",
    )
    parser.add_argument("--overlap", type=float, default=0.5, help="part of a window that the next one shares")
    parser.add_argument(
        "--flips",
        type=Literal["none", "horizontal", "both"],
        default="none",
        help="average over flipped images: left and right, or up and down as well",
    )
    parser.add_argument("--scales", type=tuple[float, ...], default=(1.0,), help="average over scaled images, such as 0.75,1,1.25")
    parser.add_argument(
        "--overlays", action="store_true", help="also write each image under the colours of its classes, D/overlays/NAME.png"
    )
    parser.add_argument(
        "--probabilities", action="store_true", help="also write the probabilities (H,W,C) float16 of all classes, D/probabilities/NAME.npz"
    )
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda or cuda:1")
    parser.add_argument("--half", action="store_true", help="compute in 16 bits on a GPU: faster, and less exact")
    return parser
