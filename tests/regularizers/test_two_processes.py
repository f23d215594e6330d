"""Two real processes train to the weights of one process on the joint batches, and to the same weights bit by bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.nets import batches
from tests.regularizers.two_processes import ARMS, train

pytestmark = pytest.mark.slow

Weights = dict[str, dict[str, Tensor]]

CAUCHY = """
from dataclasses import dataclass
import torch
from seglab.regularizers import Regularizer

@dataclass(frozen=True)
class Cauchy(Regularizer):
    strength: float
    def penalty(self, weights):
        return self.strength * sum(torch.log1p((weight / 0.1) ** 2).sum() for weight in weights)
"""


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Weights]:
    folder: Path = tmp_path_factory.mktemp("ranks")
    (folder / "mine.py").write_text(CAUCHY)
    script = Path(__file__).with_name("two_processes.py")
    path = os.pathsep.join(map(str, (folder, script.parent, script.parents[2])))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, script, folder], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("arm", ARMS)
def test_two_processes_are_one(arm: str, two_ranks: list[Weights]) -> None:
    alone = train(ARMS[arm], batches())
    for name, value in alone.items():
        torch.testing.assert_close(two_ranks[0][arm][name], value, rtol=1e-4, atol=2e-6)
    if arm.startswith("prox"):
        zeros = [torch.cat([(w == 0).flatten() for w in weights.values()]) for weights in (two_ranks[0][arm], alone)]
        assert bool(zeros[0].any())
        assert float((zeros[0] != zeros[1]).float().mean()) < 0.01


def test_ranks_are_bit_identical(two_ranks: list[Weights]) -> None:
    first, second = two_ranks
    assert len(first) == len(ARMS) + 2, "the user's own two are among them"
    for key, weights in first.items():
        for name, value in weights.items():
            assert torch.equal(value, second[key][name]), (key, name)


def test_each_penalty_had_its_effect(two_ranks: list[Weights]) -> None:
    values = [found["encoder.stem.weight"] for found in two_ranks[0].values()]
    for place, value in enumerate(values):
        assert bool(value.isfinite().all())
        assert all(float((value - other).abs().max()) > 1e-4 for other in values[:place])


def test_a_user_s_penalty_is_that_of_one_process(two_ranks: list[Weights], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(CAUCHY)
    monkeypatch.syspath_prepend(tmp_path)
    from tests.regularizers.two_processes import own_regularizer

    for arm, regularizer in own_regularizer().items():
        for name, value in train(regularizer, batches()).items():
            torch.testing.assert_close(two_ranks[0][arm][name], value, rtol=1e-4, atol=2e-6)
    sys.modules.pop("mine", None)
