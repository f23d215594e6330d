"""Files that hold no weights are refused in one line; a state dict is found in what people save around it."""

import argparse
import random
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from seglab.networks.files import content, state_dict

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


def refused(file: Path) -> str:
    with pytest.raises(ValueError, match=re.escape(str(file))) as raised:
        state_dict(content(file), file)
    message = str(raised.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_what_is_written_is_read(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        save_file(STATE, file)
    else:
        torch.save(STATE, file)
    assert equal(state_dict(content(file), file), STATE)


def test_the_format_of_old_files_is_read(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert equal(state_dict(content(tmp_path / "w.pth"), tmp_path / "w.pth"), STATE)


@pytest.mark.parametrize(
    "around",
    [
        {"state_dict": STATE},
        {"model": STATE, "epoch": 3, "optimizer": {"state": {0: {"step": torch.ones(1)}}, "param_groups": []}, "args": {}},
        {"net": {name: nn.Parameter(tensor) for name, tensor in STATE.items()}, "best": torch.ones(1)},
    ],
)
def test_the_only_state_dict_inside_is_taken(tmp_path: Path, around: dict[str, object]) -> None:
    torch.save(around, tmp_path / "w.pt")
    assert equal(state_dict(content(tmp_path / "w.pt"), tmp_path / "w.pt"), STATE)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"model": STATE, "model_ema": STATE}, "more than one state dict: model, model_ema. Save the one"),
        ({"epoch": 3}, "no state dict"),
        ({"epoch": 3, **STATE}, "no state dict"),
        ({"outer": {"state_dict": STATE}}, "no state dict"),
        ({}, "no state dict"),
        ([STATE], "no state dict"),
        (torch.ones(3), "no state dict"),
        ({0: torch.ones(3)}, "no state dict"),
    ],
)
def test_what_holds_none_or_two(tmp_path: Path, held: object, message: str) -> None:
    torch.save(held, tmp_path / "w.pt")
    assert message in refused(tmp_path / "w.pt")


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.pt").mkdir()
    assert "there is no file" in refused(tmp_path / "absent.pt")
    assert "is a folder" in refused(tmp_path / "folder.pt")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "no weights",
        "hello world\n" * 30,  # a KeyError of the unpickler's
        '{"a": 1}',
        "conv1,0.1\n",
        "<html>404</html>",
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 45\n",
    ],
)
def test_text_under_a_name_of_weights(tmp_path: Path, suffix: str, text: str) -> None:
    (tmp_path / f"w{suffix}").write_text(text)
    assert "holds no weights: it is damaged" in refused(tmp_path / f"w{suffix}")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors", "old.pt"])
def test_truncated_files(tmp_path: Path, suffix: str, share: float) -> None:
    file = tmp_path / f"w{suffix}"
    state = {"a": torch.rand(40, 40)}
    if suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=suffix == ".pt")
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    assert "holds no weights: it is damaged" in refused(file)


@pytest.mark.filterwarnings("ignore")
def test_altered_archives_are_refused_unless_the_weights_are_whole(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "w.pt")
    whole, draw = (tmp_path / "w.pt").read_bytes(), random.Random(0)
    refusals = []
    for _ in range(400):
        altered = bytearray(whole)
        altered[draw.randrange(len(altered))] ^= 1 << draw.randrange(8)
        (tmp_path / "w.pt").write_bytes(bytes(altered))
        try:
            assert equal(state_dict(content(tmp_path / "w.pt"), tmp_path / "w.pt"), STATE)
        except ValueError as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert not any("\n" in refusal for refusal in refusals)


@pytest.mark.filterwarnings("ignore")
def test_altered_files_are_read_or_refused(tmp_path: Path) -> None:
    """No other error gets out, whatever the unpickler meets."""
    torch.save(STATE, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    whole, draw = (tmp_path / "w.pt").read_bytes(), random.Random(0)
    refusals = []
    for _ in range(400):
        altered = bytearray(whole)
        for _ in range(3):
            altered[draw.randrange(len(altered))] = draw.randrange(256)
        (tmp_path / "w.pt").write_bytes(bytes(altered))
        try:
            state_dict(content(tmp_path / "w.pt"), tmp_path / "w.pt")
        except ValueError as error:
            refusals.append(str(error))
    assert len(refusals) > 200
    assert not any("\n" in refusal for refusal in refusals)


def test_what_could_run_code_is_not_read(tmp_path: Path) -> None:
    torch.save({"model": STATE, "args": argparse.Namespace(lr=1)}, tmp_path / "w.pt")
    assert "objects of argparse.Namespace, which could run code" in refused(tmp_path / "w.pt")
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pt")
    assert "objects of torch.nn.modules.linear.Linear" in refused(tmp_path / "whole.pt")
