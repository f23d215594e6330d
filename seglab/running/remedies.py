"""Remedies for the errors with which libraries refuse a network, a loss or images. No torch."""

import re
import traceback
from pathlib import Path

import seglab
from seglab.study.names import is_own_file

_REMEDIES = (  # pattern of messages of torch, segmentation-models-pytorch and timm → what to do; the first that fits counts
    (
        r"Expected more than 1 (?:spatial element|value per channel)",
        "a norm needs more than one value: give --data.batch_size 2 or more for each device, larger images, or batch_norm='frozen'",
    ),
    (
        r"expected input.*to have \d+ channels",
        "build the network with in_channels, and SegmentationModule with mean and std, for the channels of these images",
    ),
    (
        r"does not require grad",
        "the loss depends on no parameter that trains: compute it from the logits without .detach(), .item() and argmax",
    ),
    (
        r"doesn't match model|[Ww]rong input shape|divisible|should be less than the corresponding input|can't be greater than actual input"
        r"|too small|[Ss]izes of tensors must match|size of tensor a|invalid for input of size|greater than 0|non-zero size|expanded size"
        r"|Padding size|spatial sizes",
        "give images of a size that the network takes, by --data.size and --data.crop (multiples of 32 suit most), or take another network",
    ),
)

_OF_SHAPES = re.compile(r"size|shape|dimension|must match|must be \(N,H,W\)")
"""Messages about shapes."""


class TrialError(ValueError):
    """A library has refused a part of an arm. The message says why and what to do; the cause has the traceback."""


def translated(error: Exception, shapes: str | None = None, otherwise: str = "correct the network, the loss or the penalty") -> Exception:
    """Return the error that the user reads in place of an error of a trial.

    An error that seglab or the user's code raises for people stays as it is, and so does an accident of the user's code
    without a known remedy: it is shown with its place. Any other error becomes a `TrialError`.

    Args:
        error: the error, with its traceback from the trial on.
        shapes: what to do about the shape of the logits; None if it is as expected.
        otherwise: what to do if nothing is known.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own, last = any(is_own_file(frame.filename) for frame in frames), frames[-1]
    ours = is_own_file(last.filename) or Path(last.filename).is_relative_to(Path(seglab.__file__).parent)
    for_people = isinstance(error, ValueError) and ours and (last.line or "").startswith("raise ")
    reason = str(error).strip().partition("\n")[0].removesuffix(".")
    known = shapes if shapes is not None and _OF_SHAPES.search(reason) else None
    if for_people:
        return error if known is None else ValueError(f"{reason}; {known}")
    if known is None:
        known = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, str(error))), None)
    if known is None and own:
        return error
    found = TrialError(f"{type(error).__name__}: {reason}; {otherwise if known is None else known}")
    found.__cause__ = error
    return found


def needs_gpu(error: BaseException) -> bool:
    """Return whether an error says that a network, a loss or a penalty computes on GPUs alone."""
    texts = [str(one) for one in (error, error.__cause__) if one is not None]
    return any(re.search(r"cuda|nvidia|\bGPU\b|'CPU' backend|not implemented for '(?:Half|BFloat16)'", text, re.I) for text in texts)
