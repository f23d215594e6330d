"""Formats in which a trained network is exported: each is written from the network, and read again to compare it."""

import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional as F

from seglab.networks import TrainedNetwork, load, size_divisor
from seglab.networks.checkpoint import METADATA
from seglab.networks.forward import normalised
from seglab.pruning.program import loaded, saved

EXACT = 1e-4
"""Largest allowed difference between logits of network and file, relative to the largest logit: float32 rounding."""

_OTHER = "; another format may hold it: pt2, onnx, or safetensors, which holds the weights of every network"

_NEEDED = ("onnx", "onnxscript", "onnxruntime")

Forward = Callable[[Tensor], Tensor]


class Agreement(NamedTuple):
    """Distance of the logits of an exported file from those of the network, on random images of several sizes."""

    sizes: tuple[tuple[int, ...], ...]
    """Shapes (N,C,H,W) of the images."""
    difference: float
    """Largest difference of a logit."""
    scale: float
    """Largest logit of the network, without its sign."""
    pixels: float
    """Fraction of the pixels that have the same class."""

    def __str__(self) -> str:
        sizes = ", ".join(f"{size[-2]}×{size[-1]}" for size in self.sizes)
        return f"logits differ by at most {self.difference:.1e} of {self.scale:.3g}, {self.pixels:.2%} of the classes agree (images of {sizes})"


class FileFormat(NamedTuple):
    """A format of an exported network."""

    write: Callable[[TrainedNetwork, str], bytes]
    """Returns the content of a file, from the network and its description in JSON."""
    read: Callable[[Path], Forward]
    """Reads a file as a function from images to logits."""
    use: str
    """Program that uses the file {file}."""
    any_size: bool
    """True if the file takes images of any size. A program takes those from `smallest` on."""


class _Whole(nn.Module):
    """Normalisation, padding, network and cropping as one graph, for images of any size.

    The steps are those of `padded_forward`. They are written so that the tracer can prove that every size takes the
    same steps: sizes are multiples of the divisor by their form, and the logits are cropped by indices, because a slice
    has another memory layout at some sizes.
    """

    def __init__(self, trained: TrainedNetwork) -> None:
        super().__init__()
        self.network, self.divisor = trained.network, size_divisor(trained.network)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", trained.mean)
        self.register_buffer("std", trained.std)

    def forward(self, image: Tensor) -> Tensor:
        image = normalised(image, self.mean, self.std)
        height, width = image.shape[-2:]
        rows, columns = ((side + self.divisor - 1) // self.divisor * self.divisor for side in (height, width))
        logits: Tensor = self.network(F.pad(image, (0, columns - width, 0, rows - height)))
        return logits.index_select(-2, torch.arange(height)).index_select(-1, torch.arange(width))


def image_dtype(trained: TrainedNetwork) -> torch.dtype:
    """Return the image data type of an exported program: that of the training, float32 if it is not known."""
    return {"uint8": torch.uint8, "uint16": torch.uint16}.get(trained.image_dtype or "", torch.float32)


def smallest(trained: TrainedNetwork) -> int:
    """Return the smallest number of rows or columns for which a program is checked.

    A program may refuse smaller images by an error.
    """
    return max(2 * size_divisor(trained.network), 64)


def random_images(trained: TrainedNetwork, shape: tuple[int, ...], seed: int) -> Tensor:
    """Return random images (N,C,H,W) of the data type of the training."""
    values = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    dtype = image_dtype(trained)
    return values if dtype.is_floating_point else (values * torch.iinfo(dtype).max).to(torch.int32).to(dtype)


def agreement(trained: TrainedNetwork, forward: Forward) -> Agreement:
    """Compare a file with its network on random images of three sizes.

    Two have sides that are no multiples of the divisor.

    Raises:
        ValueError: the logits differ by more than rounding.
    """
    side = smallest(trained)
    sides = ((1, 2 * side, 3 * side), (2, side, 2 * side + 7), (1, 4 * side - 3, side + 5))
    sizes = tuple((number, trained.in_channels, rows, columns) for number, rows, columns in sides)
    difference, scale, same, pixels = 0.0, 0.0, 0, 0
    for seed, shape in enumerate(sizes):
        images = random_images(trained, shape, seed)
        with torch.no_grad():
            ours = trained(images)
        try:
            with torch.no_grad():
                theirs = forward(images)
        except Exception as error:  # of the library that runs the file
            raise ValueError(
                f"the exported file fails on images of {shape[-2]}×{shape[-1]} ({_reason(error)}): it is not written{_OTHER}"
            ) from error
        if ours.shape != theirs.shape:
            raise ValueError(
                f"the exported file gives logits of the shape {tuple(theirs.shape)} for {tuple(ours.shape)}: it is not written"
            )
        apart, largest = float((ours - theirs).abs().max()), float(ours.abs().max())
        if not apart <= EXACT * largest:  # NaN is refused too
            raise ValueError(f"the exported file gives other logits (they differ by up to {apart:.2g} of {largest:.2g}): it is not written")
        difference, scale = max(difference, apart), max(scale, largest)
        same += int((_classes(ours) == _classes(theirs)).sum())
        pixels += _classes(ours).numel()
    return Agreement(sizes, difference, scale, same / pixels)


def _classes(logits: Tensor) -> Tensor:
    return logits[:, 0] > 0 if logits.shape[1] == 1 else logits.max(1).indices


def _program(trained: TrainedNetwork) -> ExportedProgram:
    """Trace the network for images of any number, height and width."""
    side = smallest(trained)
    image = random_images(trained, (2, trained.in_channels, 2 * side + 6, 3 * side + 4), 0)
    sizes = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
    try:
        with torch.no_grad():
            return torch.export.export(
                _Whole(trained).eval(), (image,), dynamic_shapes=sizes, strict=False, prefer_deferred_runtime_asserts_over_guards=True
            )
    except Exception as error:  # torch.export raises errors of many types
        raise _unwritten(trained, error) from error


def _unwritten(trained: TrainedNetwork, error: Exception) -> ValueError:
    name = type(trained.network).__name__
    return ValueError(f"the {name} cannot be written for images of any size ({_reason(error)}){_OTHER}")


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def _pt2(trained: TrainedNetwork, described: str) -> bytes:
    program = _program(trained)
    try:
        return saved(program, json.loads(described))
    except Exception as error:  # of the serialization
        raise _unwritten(trained, error) from error


def _onnx(trained: TrainedNetwork, described: str) -> bytes:
    _require_onnx()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    program = _program(trained)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported: Any = torch.onnx.export(program, input_names=["image"], output_names=["logits"], verbose=False)
        exported.model.metadata_props[METADATA] = described
        content: bytes = exported.model_proto.SerializeToString()
    except Exception as error:  # of the conversion
        raise _unwritten(trained, error) from error
    return content


def _read_onnx(file: Path) -> Forward:
    _require_onnx()
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"image": images.numpy()})[0])


def _require_onnx() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"--to onnx needs {', '.join(missing)}, not installed here: pip install 'seglab[onnx]'")


def _safetensors(trained: TrainedNetwork, described: str) -> bytes:
    from safetensors.torch import save

    return save({name: tensor.clone().contiguous() for name, tensor in trained.state_dict().items()}, {METADATA: described})


FORMATS: Mapping[str, FileFormat] = {
    "onnx": FileFormat(
        _onnx,
        _read_onnx,
        "import onnxruntime\n\nsession = onnxruntime.InferenceSession({file!r})\n(logits,) = session.run(None, {{'image': image}})  "
        "# image: array (N,{channels},H,W) {dtype}; logits: (N,{logits},H,W) float32",
        False,
    ),
    "pt2": FileFormat(
        _pt2,
        loaded,
        "import torch\n\nnetwork = torch.export.load({file!r}).module()\nlogits = network(image)  "
        "# image: tensor (N,{channels},H,W) {dtype}; logits: (N,{logits},H,W) float32",
        False,
    ),
    "safetensors": FileFormat(
        _safetensors,
        load,
        "import seglab\n\nmask = seglab.load({file!r}).predict(image)  # image: array (H,W,{channels}); mask: array (H,W)",
        True,
    ),
}
"""Formats by the ending of their files."""


def describe(trained: TrainedNetwork, network: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of an exported file, from the `description` of its network; names as in a checkpoint."""
    return {
        "network": dict(network),
        "class_names": list(trained.class_names),
        "mean": trained.mean.flatten().tolist(),
        "std": trained.std.flatten().tolist(),
        "palette": trained.palette,
        "image_dtype": trained.image_dtype,
        "size": trained.size,
    }
