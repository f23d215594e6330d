"""Command line of `seglab export`: a model card, and a trained network as files that run elsewhere.

Each file is compared with the network.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from seglab.exit_codes import DONE
from seglab.files import atomic_write
from seglab.script.command_line import parse
from seglab.script.errors import exit_code
from seglab.script.help import Help

if TYPE_CHECKING:
    from seglab.networks import TrainedNetwork
    from seglab.prediction.formats import Agreement

CARD = "README.md"
STEM = "model"


def main(words: Sequence[str]) -> NoReturn:
    """Export and exit: 0 done, 2 bad input, 75 interrupted."""
    sys.exit(exit_code(lambda: export(parse(_parser(), words)), resumes=False))


def export(given: Namespace) -> int:
    """Export the network of a command line, and return an exit code.

    Raises:
        ValueError: the network cannot be loaded or exported, or the folder holds another export; then nothing is
            written.
        OSError: a file cannot be written.
    """
    from seglab.networks.checkpoint import checkpoint_file, load
    from seglab.prediction.card import Export, card

    checkpoint = checkpoint_file(Path(given.checkpoint))
    output = checkpoint.parent / "export" if given.output is None else Path(given.output)
    kinds = list(dict.fromkeys(given.to))
    _check_folder(output, kinds)
    trained = load(checkpoint)
    written = {kind: checked(trained, kind) for kind in kinds}
    made = Export(
        checkpoint,
        hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        trained,
        {f"{STEM}.{kind}": found for kind, (_, found) in written.items()},
    )
    output.mkdir(parents=True, exist_ok=True)
    for kind, (content, _) in written.items():
        with atomic_write(output / f"{STEM}.{kind}") as file:
            file.write(content)
    with atomic_write(output / CARD) as file:
        file.write(card(made).encode("utf-8"))
    console = Console(width=None if sys.stdout.isatty() else 120)
    for kind, (content, found) in written.items():
        console.print(f"{output / f'{STEM}.{kind}'}: {len(content) / 1e6:.1f} MB; {found}", highlight=False, soft_wrap=True)
    console.print(f"{output / CARD}: what it is, and how to use it", highlight=False, soft_wrap=True)
    return DONE


def checked(trained: "TrainedNetwork", kind: str) -> "tuple[bytes, Agreement]":
    """Return the content of a file of a format, and how it agrees with the network when it is read again.

    Raises:
        ValueError: the network cannot be written in this format, or the file does not give what the network gives.
    """
    from seglab.networks import description
    from seglab.prediction.formats import FORMATS, agreement, describe

    known = FORMATS[kind]
    content = known.write(trained, json.dumps(describe(trained, description(trained.network))))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{STEM}.{kind}"
        file.write_bytes(content)
        return content, agreement(trained, known.read(file))


def _check_folder(output: Path, kinds: Sequence[str]) -> None:
    """Refuse a folder in which the model card would stand beside other files than its own."""
    if output.exists() and not output.is_dir():
        raise ValueError(f"--output: {output} is a file; expected a folder")
    own = {CARD, *(f"{STEM}.{kind}" for kind in kinds)}
    others = sorted(file.name for file in output.iterdir() if file.name not in own) if output.exists() else []
    if others:
        raise ValueError(f"--output: {output} holds {others[0]}, which this export does not write: give a new or an empty folder")


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="seglab export",
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=Help,
        description="Write a trained network as files that run elsewhere, with the normalisation and the padding inside, for images of any size. "
        "Each file is read again and compared with the network. Beside them, README.md is a model card.",
    )
    parser.add_argument("checkpoint", type=str, metavar="CKPT", help="a checkpoint, or the folder of a run, such as runs/l2/none/seed-0")
    parser.add_argument(
        "--to",
        type=Literal["onnx", "pt2", "safetensors"],
        nargs="+",
        required=True,
        metavar="FORMAT",
        help="onnx, pt2 or safetensors; several are possible",
    )
    parser.add_argument("--output", type=str | None, default=None, metavar="D", help="the folder (default: export, beside the checkpoint)")
    return parser
