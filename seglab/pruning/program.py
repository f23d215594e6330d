"""Writing a pruned network as a program that runs without seglab, after a check and a measurement."""

import copy
import io
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from seglab.files import atomic_write
from seglab.pruning.surgery import Report, prune_with_report

METADATA = "seglab.json"
"""The file in the program that describes its inputs and outputs."""

EXACT = 1e-9
"""Largest allowed difference between outputs in float64, relative to the largest output: rounding alone."""

_REPEATS = 15


class Written(NamedTuple):
    """Sizes and times of the whole network and of the pruned network that was written."""

    report: Report
    bytes: tuple[int, int]
    """Sizes in bytes of the `.pt2` files of the whole network and of the pruned one."""
    milliseconds: tuple[float, float]
    """Median times of a forward pass of one image on this machine's CPU, of the whole network and of the pruned one."""


def write_pruned(network: nn.Module, path: Path, *, size: Sequence[int], metadata: Mapping[str, object], channels: int = 3) -> Written:
    """Prune `network`, check that the outputs are unchanged, and write the pruned network as a `torch.export` program.

    The program takes any number N of float32 images (N,channels,H,W) of this `size` (H,W).
    `torch.export.load(path).module()` reads it. `torch.export.load(path, extra_files=(files := {"seglab.json": ""}))`
    reads `metadata` as JSON. The check is in float64, on random images of this size and, if the network takes it, of
    one larger size.

    Raises:
        ValueError: if the network cannot be pruned or exported, or the outputs differ; then nothing is written.
    """
    whole, pruned, report = _checked(network, channels, size)
    image = torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(0))
    sizes = len(saved(_exported(whole, image), metadata)), _write(pruned, image, path, metadata)
    return Written(report, sizes, milliseconds(whole, pruned, image))


def _checked(network: nn.Module, channels: int, size: Sequence[int]) -> tuple[nn.Module, nn.Module, Report]:
    """Prune the network, compare the outputs in float64, and return both networks with the report.

    The returned networks are in eval mode and float32.
    """
    if min(size) < 1:
        raise ValueError(f"size: expected the height and width of an image, got {tuple(size)}")
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, channels, *size, generator=generator, dtype=torch.float64)
    whole = copy.deepcopy(network).cpu().double().eval()
    pruned, report = prune_with_report(whole, image)
    check_equal(whole, pruned, image)
    others = (torch.randn(1, channels, size[0] + more, size[1] + 2 * more, generator=generator, dtype=torch.float64) for more in (7, 32))
    # The first of these sizes has another parity than `size`, so that strides and paddings act differently.
    other = next((other for other in others if _runs(whole, other)), image)
    check_equal(whole, pruned, other)
    return whole.float(), pruned.float(), report


def to_table(written: Written) -> Table:
    """Return a table of the costs before and after pruning. Its caption lists the reasons why zero filters stayed."""
    report, table = written.report, Table(caption_justify="left")
    for column in ("", "before", "after", "saved"):
        table.add_column(column, justify="right" if column else "left")
    for label, before, after, digits in (
        ("parameters", report.before.parameters, report.after.parameters, 0),
        ("GFLOPs an image", report.before.flops / 1e9, report.after.flops / 1e9, 3),
        ("filters", report.before.filters, report.after.filters, 0),
        (".pt2 file, MB", written.bytes[0] / 1e6, written.bytes[1] / 1e6, 2),
        ("ms an image, this CPU", *written.milliseconds, 1),
    ):
        table.add_row(label, f"{before:,.{digits}f}", f"{after:,.{digits}f}", f"{1 - after / before:.1%}")
    lines = [
        f"{report.zero} filters were zero; {report.removed} filters are gone",
        *(f"{n} zero stay: {why}" for why, n in report.kept.items()),
    ]
    table.caption = "\n".join(lines)
    return table


def check_equal(network: nn.Module, pruned: nn.Module, image: Tensor) -> None:
    """Compare the outputs of both networks for `image` (N,C,H,W) float64.

    Raises:
        ValueError: if the outputs differ by more than rounding.
    """
    for whole, smaller in zip(_outputs(network, image), _outputs(pruned, image), strict=True):
        difference, scale = float((whole - smaller).abs().max()), float(whole.abs().max())
        if not difference <= EXACT * scale:
            raise ValueError(
                f"the pruned {type(network).__name__} gives other outputs on images of {tuple(image.shape[-2:])} (they differ by up to "
                f"{difference:.2g} of {scale:.2g}), so nothing is written; this network does something that seglab.pruning mistakes"
            )


def milliseconds(whole: nn.Module, pruned: nn.Module, image: Tensor) -> tuple[float, float]:
    """Return the median milliseconds of a forward pass of `image` (N,C,H,W) by each network, measured in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_REPEATS):
        for network, taken in zip((whole, pruned), times, strict=True):
            start = time.perf_counter()
            _outputs(network, image)
            taken.append(1000 * (time.perf_counter() - start))
    first, second = (sorted(taken)[len(taken) // 2] for taken in times)
    return first, second


def _write(pruned: nn.Module, image: Tensor, path: Path, metadata: Mapping[str, object]) -> int:
    """Write the program atomically, after a check that its outputs are the network's; return its size in bytes."""
    content = saved(_exported(pruned, image), metadata)
    network = loaded(io.BytesIO(content))
    for batch in (image, image.tile(3, 1, 1, 1)):
        for ours, theirs in zip(_outputs(pruned, batch), _outputs(network, batch), strict=True):
            if not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * float(ours.abs().max())):
                raise ValueError(f"the program of {type(pruned).__name__} does not give what the network does, so nothing is written")
    with atomic_write(path) as file:
        file.write(content)
    return len(content)


def _exported(network: nn.Module, image: Tensor) -> ExportedProgram:
    """Export a network, already in eval mode, as a program for any batch size."""
    try:
        with torch.no_grad():
            pair = image.tile(2, 1, 1, 1)  # torch.export would fix a batch size of one
            program: ExportedProgram = torch.export.export(network, (pair,), dynamic_shapes=({0: Dim("batch")},), strict=False)
    except RuntimeError as error:
        raise ValueError(f"{type(network).__name__} cannot be written as a program for any number of images: {error}") from error
    return program


def saved(program: ExportedProgram, metadata: Mapping[str, object]) -> bytes:
    """Return the bytes of a `.pt2` file with a program and its description, without paths of local source files."""
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={METADATA: json.dumps(metadata)})
    return file.getvalue()


def loaded(file: Path | io.BytesIO) -> nn.Module:
    """Return the network in a `.pt2` file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable")  # torch 2.9 says this of its own buffer
        network: nn.Module = torch.export.load(file).module()
    return network


def _outputs(network: nn.Module, image: Tensor) -> list[Tensor]:
    """Return all tensors that the network returns, one or several, as a list."""
    with torch.no_grad():
        outputs = network(image)
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def _runs(network: nn.Module, image: Tensor) -> bool:
    """Return whether a network runs on images of this size; some networks run on one size alone."""
    try:
        _outputs(network, image)
    except (RuntimeError, AssertionError):
        return False
    return True
