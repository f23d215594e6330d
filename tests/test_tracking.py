"""Which mode of W&B a run gets, without an account and with one."""

from pathlib import Path

import pytest

from seglab.records import Run
from seglab.tracking import resolved_mode, wandb_id


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home without credentials."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path / "netrc"


def test_without_an_account_a_run_is_offline(nobody: Path) -> None:
    assert resolved_mode("auto") == "offline"


def test_who_is_logged_in_is_online(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody.write_text("machine api.wandb.ai\n  login user\n  password 0123456789\n")
    assert resolved_mode("auto") == "online"
    nobody.write_text("machine elsewhere.example\n  login user\n  password 0123456789\n")
    assert resolved_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert resolved_mode("auto") == "online"


def test_a_damaged_netrc_is_nobody(nobody: Path) -> None:
    nobody.write_text("machine api.wandb.ai login\nnonsense here")
    assert resolved_mode("auto") == "offline"


def test_what_is_asked_for_is_given(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolved_mode("online") == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert resolved_mode("auto") == "disabled"
    assert resolved_mode("offline") == "offline"


def test_an_id_is_the_same_for_the_same_run_and_no_other() -> None:
    run = Run("study", "l2+lpft@0.1", 3)
    assert wandb_id(run, "a" * 16) == wandb_id(run, "a" * 16) == "study-l2_lpft_0.1-s3-aaaaaaaa"
    assert len({wandb_id(Run("study", "l2", seed), identity * 16) for seed in range(3) for identity in "ab"}) == 6
