"""Losses, metrics, proximal operators and class weights against scikit-learn."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.linear_model import ElasticNet as SklearnElasticNet
from sklearn.linear_model import Lasso, MultiTaskLasso, Ridge
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, f1_score, jaccard_score, log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from seglab import inverse_frequency
from seglab.losses import Brier, CrossEntropy, Dice, Lovasz
from seglab.metrics import confusion_matrices, scores
from seglab.regularizers import L1, L2, ElasticNet, GroupLasso
from seglab.sample import IGNORE
from tests.losses.catalogue import drawn

SEEDS = range(5)
Floats = npt.NDArray[np.float64]


def pixels(logits: Tensor, mask: Tensor) -> tuple[Floats, npt.NDArray[np.int64]]:
    """p (valid pixels, C) in float64, each row of sum 1, and labels."""
    both = torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits
    valid = mask != IGNORE
    return both.double().softmax(1).movedim(1, -1)[valid].numpy(), mask[valid].numpy()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("ignored", [0.0, 0.3])
@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 0.5]])
def test_cross_entropy_is_log_loss(seed: int, classes: int, ignored: float, weight: list[float] | None) -> None:
    logits, mask = drawn(seed, ignored, classes, max(classes, 2))
    p, y = pixels(logits, mask)
    weight = weight if weight is None or classes == 3 else weight[:2]
    theirs = log_loss(y, p, sample_weight=None if weight is None else np.array(weight)[y], labels=range(p.shape[1]))
    assert CrossEntropy(weight=weight)(logits, mask).item() == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_brier_is_scikit_learns_for_several_classes_and_twice_it_for_one_logit(seed: int, ignored: float) -> None:
    logits, mask = drawn(seed, ignored)
    p, y = pixels(logits, mask)
    assert Brier()(logits, mask).item() == pytest.approx(brier_score_loss(y, p, labels=range(3), scale_by_half=False), rel=1e-5)
    logits, mask = drawn(seed, ignored, 1, 2)
    p, y = pixels(logits, mask)
    assert Brier()(logits, mask).item() == pytest.approx(2 * brier_score_loss(y, p[:, 1]), rel=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_hard_predictions_of_one_logit_cost_one_minus_binary_scores(seed: int, ignored: float) -> None:
    """scikit-learn's default is the foreground alone."""
    logits, mask = drawn(seed, ignored, 1, 2)
    _, y = pixels(logits, mask)
    predicted = (logits[:, 0] > 0).long()[mask != IGNORE].numpy()
    hard = 200 * logits.sign()
    assert Dice(foreground_only=True)(hard, mask).item() == pytest.approx(1 - f1_score(y, predicted), abs=1e-6)
    assert Dice()(hard, mask).item() == pytest.approx(1 - f1_score(y, predicted, average="macro"), abs=1e-6)
    assert Lovasz(foreground_only=True)(hard, mask).item() == pytest.approx(1 - jaccard_score(y, predicted), abs=1e-6)
    assert Lovasz()(hard, mask).item() == pytest.approx(1 - jaccard_score(y, predicted, average="macro"), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_class_accuracy_is_balanced_accuracy(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    prediction, mask = torch.randint(0, 3, (2, 2, 6, 7), generator=generator)
    found = scores(confusion_matrices(prediction, mask, 3).sum(0)).mean["class_accuracy"].item()
    assert found == pytest.approx(balanced_accuracy_score(mask.flatten(), prediction.flatten()))


@pytest.mark.parametrize("seed", SEEDS)
def test_inverse_frequency_is_balanced(seed: int) -> None:
    labels = np.random.default_rng(seed).choice(3, 50, p=[0.6, 0.3, 0.1])
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert inverse_frequency(np.bincount(labels, minlength=3)[None]) == pytest.approx(theirs)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", [0.1, 1.0, 3.0])
def test_proximal_operators_are_regressions_on_the_identity(seed: int, step: float) -> None:
    """The lasso minimises ‖v−w‖²/2n + α‖w‖₁, which is the prox of L1 with τ = nα; ridge minimises ‖v−w‖² + α‖w‖²."""
    v = np.random.default_rng(seed).normal(size=12)
    eye, n = np.eye(12), 12

    def prox(penalty: L1 | L2 | ElasticNet) -> Floats:
        weight = torch.from_numpy(v.copy())
        penalty.prox([weight], [step])
        moved: Floats = weight.numpy()
        return moved

    lasso = Lasso(alpha=0.4 * step / n, fit_intercept=False, tol=1e-12).fit(eye, v).coef_
    np.testing.assert_allclose(prox(L1(0.4)), lasso, atol=1e-9)
    ridge = Ridge(alpha=0.4 * step, fit_intercept=False).fit(eye, v).coef_
    np.testing.assert_allclose(prox(L2(0.4)), ridge, atol=1e-9)
    alpha = (0.4 + 0.7) * step / n
    net = SklearnElasticNet(alpha=alpha, l1_ratio=0.4 / (0.4 + 0.7), fit_intercept=False, tol=1e-12).fit(eye, v).coef_
    np.testing.assert_allclose(prox(ElasticNet(0.4, 0.7)), net, atol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", [0.1, 0.5, 2.0])
def test_group_lasso_is_the_multi_task_lasso_with_the_root_of_the_length(seed: int, step: float) -> None:
    """Compare with scikit-learn, which minimises ‖V−W‖²/2n + α Σ_g ‖w_g‖ over rows g, without √|g|."""
    v = np.random.default_rng(seed).normal(size=(6, 9))
    weight = torch.from_numpy(v.copy())
    GroupLasso(0.4).prox([weight], [step])
    theirs = MultiTaskLasso(alpha=3 * 0.4 * step / 6, fit_intercept=False, tol=1e-12).fit(np.eye(6), v).coef_.T
    np.testing.assert_allclose(weight.numpy(), theirs, atol=1e-7)
