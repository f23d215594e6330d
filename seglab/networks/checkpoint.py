"""Loading of the trained network in a checkpoint, ready to be called on images."""

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from seglab.networks.build import description, rebuilt
from seglab.networks.files import content
from seglab.networks.forward import classes, has_nan, normalised, padded_forward
from seglab.networks.stages import in_channels
from seglab.resizing import resize_image
from seglab.windows import Network, Windows, bands

LAST = Path("checkpoints", "last.ckpt")
"""Checkpoint of a run's last step, in the folder of the run."""

METADATA = "seglab"
"""Key of the description of a network in a checkpoint, and in the files that `seglab export` writes."""

_INTEGERS = ("uint8", "uint16")


class TrainedNetwork(nn.Module):
    """A trained network with the normalisation and the class names of its training.

    `seglab.load` makes it, in evaluation mode.

    Call it on images (N,C,H,W) of any height and width to get logits (N,num_classes,H,W); one logit of two classes is
    (N,1,H,W). Images are uint8, uint16, or float with the values of the training images, which for training on uint8 or
    uint16 are those divided by their maximum, [0, 1]. Grey images (N,1,H,W) are repeated for each channel, as in the
    training, if `mean` or `std` has a value for each. The logits are those of the `SegmentationModule` that was
    trained, bit for bit.

    Args:
        network: the network, from normalised images to logits.
        class_names: names of the classes, in the order of the labels.
        mean: mean of each image channel, on the scale [0, 1]; one value serves all channels.
        std: standard deviation of each image channel, on the same scale; one value serves all channels.
        image_dtype: data type of the training images, such as "uint8"; None if it is not known.
        palette: (C,3) colours of the classes, 0 to 255; None if they are not known.
        size: rows and columns to which `predict` resizes images, as in the training; None keeps their own.
    """

    def __init__(
        self,
        network: nn.Module,
        class_names: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        image_dtype: str | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.class_names = tuple(class_names)
        self.in_channels = in_channels(network)
        self.image_dtype = image_dtype
        self.palette = palette
        self.size = size
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(list(mean)).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(list(std)).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits (N,num_classes,H,W) of images (N,C,H,W).

        Raises:
            ValueError: shape, data type or range of the images are not those of the training.
        """
        self._check(image)
        return padded_forward(self.network, normalised(image, self.mean, self.std))

    @overload
    def predict(self, image: npt.NDArray[Any], windows: Windows | None = None) -> npt.NDArray[np.uint8]: ...

    @overload
    def predict(self, image: Tensor, windows: Windows | None = None) -> Tensor: ...

    @torch.inference_mode()
    def predict(self, image: npt.NDArray[Any] | Tensor, windows: Windows | None = None) -> npt.NDArray[np.uint8] | Tensor:
        """Return the class of each pixel as an evaluation does: images are resized as in training, and logits back.

            net = seglab.load("runs/regularization/l2/seed-0")
            mask = net.predict(image)                                # (H,W,C) to (H,W)
            mask = net.predict(image, seglab.Windows((512, 512)))    # a large image

        Args:
            image: an array (H,W,C) or (H,W), or a tensor (N,C,H,W) on any device; uint8, uint16 or float, see the
                class.
            windows: the overlapping windows by which a larger image is computed, after it has been resized; None
                computes it as a whole.

        Returns:
            Class indices: an array (H,W) uint8 for an array, a tensor (N,H,W) int64 on the network's device for a
                tensor.

        Raises:
            ValueError: the image is neither an array nor a tensor, it has no pixels, its shape, data type or range are
                not those of the training, or a logit is NaN.
        """
        if not isinstance(image, Tensor):
            return np.asarray(self.predict(_batch(image, self.in_channels), windows)[0].byte().cpu().numpy())
        self._check_form(image)
        if 0 in image.shape[-2:]:
            raise ValueError(
                f"the image has {image.shape[-2]}×{image.shape[-1]} pixels (rows × columns): expected at least one; leave it out"
            )
        return torch.cat([checked_classes(logits) for logits in self.bands(image, windows, self)], dim=1)

    def bands(self, image: Tensor, windows: Windows | None, network: Network) -> Iterator[Tensor]:
        """Yield the logits (N,K,rows,W) of images (N,C,H,W) in bands of rows, see `seglab.windows.bands`.

        Images that are resized give one band. `network` computes the logits: this network, or a function that wraps it.
        """
        if self.size is None or self.size == tuple(image.shape[-2:]):
            yield from bands(network, image, windows, self.mean.device)
            return
        arrays = [resize_image(np.ascontiguousarray(one.permute(1, 2, 0).cpu().numpy()), self.size) for one in image]
        resized = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)
        logits = torch.cat(list(bands(network, resized, windows, self.mean.device)), dim=-2)
        yield F.interpolate(logits, image.shape[-2:], mode="bilinear", align_corners=False)

    def _check(self, image: Tensor) -> None:
        self._check_form(image)
        if image.is_floating_point() and self.image_dtype in _INTEGERS and image.numel() > 0:
            low, high = (float(bound) for bound in image.aminmax())
            if not (low >= 0 and high <= 1):
                raise ValueError(
                    f"images have values from {low:g} to {high:g}: expected 0 to 1, as the network was trained on {self.image_dtype}; "
                    f"divide by the largest value of the type, or give torch.{self.image_dtype}"
                )

    def _check_form(self, image: Tensor) -> None:
        # normalisation repeats the one channel of grey images, in the training too
        repeated = 1 if self.in_channels in (self.mean.numel(), self.std.numel()) else None
        if image.ndim != 4 or image.shape[1] not in (self.in_channels, repeated):
            raise ValueError(
                f"images have the shape {tuple(image.shape)}: expected (N,{self.in_channels},H,W); image[None] makes a batch of one image, "
                "permute(2, 0, 1) puts its channels first"
            )
        if image.dtype not in (torch.uint8, torch.uint16) and not image.is_floating_point():
            raise ValueError(f"images are {image.dtype}: expected torch.uint8, torch.uint16 or floats; convert them to the training's type")


def _batch(image: Any, channels: int) -> Tensor:
    """Return an array (H,W,C) or (H,W) as a tensor (1,C,H,W) in native byte order, over the same memory if possible.

    Raises:
        ValueError: `image` is no array of numbers, or has another number of dimensions.
    """
    if not isinstance(image, np.ndarray):
        kind = type(image)
        raise ValueError(
            f"the image is a {kind.__module__}.{kind.__qualname__}".replace("builtins.", "")
            + f": expected an array (H,W,{channels}) or a tensor (N,{channels},H,W). {_remedy(image)}"
        )
    if image.ndim not in (2, 3):
        raise ValueError(f"the image is an array of shape {image.shape}: expected (H,W,{channels})")
    if image.dtype.kind not in "uifb" or image.dtype.itemsize > 8:
        raise ValueError(f"the image is an array of {image.dtype}: expected uint8, uint16 or floats; convert it to the training's type")
    native = image.astype(image.dtype.newbyteorder("="), copy=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # nothing writes to it
        pixels = torch.from_numpy(np.ascontiguousarray(native if native.ndim == 3 else native[..., None]))
    return pixels.permute(2, 0, 1)[None]


def _remedy(image: object) -> str:
    """Return what to do with an object that is neither an array nor a tensor."""
    if isinstance(image, str | os.PathLike):
        return "Read the file, as by np.asarray(PIL.Image.open(file)), or run `seglab predict` on it"
    if isinstance(image, Image.Image):
        return "Give np.asarray(image)"
    return "Give the pixels of one image, as by np.asarray(image)"


def load(path: str | Path, network: nn.Module | None = None) -> TrainedNetwork:
    """Load the trained network of a run: its weights, its normalisation and its class names.

        net = seglab.load("runs/regularization/l2/seed-0")
        with torch.inference_mode():
            classes = net(images).argmax(1)          # images (N,C,H,W) uint8, classes (N,H,W)
        print(net.class_names)

    Args:
        path: a checkpoint of `seglab fit` or of a study, or the folder of a run, whose `checkpoints/last.ckpt` is
            loaded.
        network: the network into which the weights are loaded, built as for the training. A network of
            segmentation-models-pytorch is built from the checkpoint if it is None; a network of the user's own class
            must be given.

    Returns:
        The network on the CPU, in evaluation mode. It computes in float32, also after a training in 64 bits.

    Raises:
        ValueError: the file is no such checkpoint or is damaged, `network` is missing or is not the network of the
            training, or the module had a `forward` of its own.
    """
    file = checkpoint_file(Path(path))
    held = _held(file)
    saved = held.get("seglab") if isinstance(held, Mapping) else None
    if not isinstance(saved, Mapping) or not isinstance(held.get("state_dict"), Mapping):
        raise ValueError(f"{file} is no checkpoint of seglab, which says what its network is; `seglab fit` and studies save such")
    if saved.get("own_method") is not None:
        raise ValueError(
            f"{file} was trained by {saved['own_method']}, which the file does not hold: build the module in Python, and load the "
            "state_dict of the file into it"
        )
    with torch.random.fork_rng(devices=[]):  # initial weights, which are replaced, take no random numbers from the caller
        built = _built(saved["network"], file) if network is None else network
    if _differs(built, saved["network"]):
        raise ValueError(
            f"{file}: the network given, a {type(built).__name__}, differs from the one that was trained, {saved['network']['class']}: build "
            "it with the same arguments"
            if network is not None
            else f"{file}: the {type(built).__name__} of its description has other layers than the one that was trained, which was changed "
            "after it was built, or built by another version of its library: build it in Python and give it, seglab.load(path, network)"
        )
    state = {key.removeprefix("network."): value for key, value in held["state_dict"].items() if key.startswith("network.")}
    try:
        built.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{file}: the weights do not fit the network that it describes: {' '.join(str(error).split())[:1000]}") from error
    size = saved.get("size")
    return TrainedNetwork(
        built,
        saved["class_names"],
        saved["mean"],
        saved["std"],
        saved.get("image_dtype"),
        saved.get("palette"),
        None if size is None else (size[0], size[1]),
    ).eval()


def checked_classes(logits: Tensor) -> Tensor:
    """Return the classes (N,H,W) of the logits (N,C,H,W); raise a ValueError if a logit is NaN."""
    prediction = classes(logits)
    if has_nan(logits, prediction).any():
        raise ValueError("the network gives logits that are NaN: the image or the weights are not finite, or half precision has overflown")
    return prediction


def checkpoint_file(path: Path) -> Path:
    """Return the checkpoint at a path, which may be the folder of a run."""
    if (path / LAST).is_file():
        return path / LAST
    if path.is_dir():
        unfinished = " (the run has not ended)" if any(path.glob("checkpoints/resume*.ckpt")) else ""
        raise ValueError(
            f"{path}: has no {LAST.as_posix()}{unfinished}; expected a checkpoint or the folder of a finished run, such as "
            "runs/regularization/none/seed-0 or runs/fit/version_0"
        )
    if not path.is_file():
        raise ValueError(
            f"{path} is no file; expected a checkpoint such as runs/fit/version_0/checkpoints/last.ckpt, or the folder of a run"
        )
    return path


def _held(file: Path) -> Any:
    """Return the content of a checkpoint or of a `.safetensors` file.

    A file that `seglab export` has written is returned in the layout of a checkpoint.
    """
    held = content(file)
    if file.suffix != ".safetensors":
        return held
    with safe_open(file, "pt") as opened:
        described = (opened.metadata() or {}).get(METADATA)
    try:
        return held if described is None else {METADATA: json.loads(described), "state_dict": held}
    except ValueError as error:
        raise ValueError(f"{file}: its description is damaged ({error}); export it again") from error


def compared(saved: Mapping[str, Any], network: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parts of a saved description and of `network`'s description that are equal if the networks are equal.

    Older descriptions have no hash of layers. The import path of a class is not compared: it is another one in the
    script that defines the class. Neither are the settings of layers if another version of a library wrote them.
    """
    described = description(network)
    same_libraries = saved.get("libraries") == described["libraries"]
    keys = [key for key in ("config", "layers_sha256", *(["repr_sha256"] if same_libraries else [])) if key in saved]
    return {key: saved[key] for key in keys}, {key: described.get(key) for key in keys}


def _differs(network: nn.Module, saved: Mapping[str, Any]) -> bool:
    """Return whether configuration or layers of a network are not those of a description."""
    there, here = compared(saved, network)
    return there != here


def _built(described: Mapping[str, Any], file: Path) -> nn.Module:
    """Build the network of a description."""
    if "config" not in described:
        raise ValueError(
            f"{file}: {described.get('class')} is no network of segmentation_models_pytorch, and the checkpoint does not tell how to build it: "
            "build it in Python and give it, seglab.load(path, network)"
        )
    return rebuilt(described)
