"""The corrected t test against scikit-learn's example, "Statistical comparison of models using grid search"."""

import numpy as np
import pytest
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

from seglab.compare.numbers.resampled import resampled_error, resampled_p


def test_repeated_cross_validation_of_two_classifiers() -> None:
    """Their page prints t 0.750 and p 0.227 with the correction, and t 2.611 and p 0.005 without.

    The p values are for 'the first is better'.
    """
    x, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    first, second = (cross_val_score(SVC(kernel=kernel, random_state=0), x, y, scoring="roc_auc", cv=folds) for kernel in ("rbf", "linear"))
    differences = np.asarray(first - second, dtype=np.float64)
    for share, t, p in ((10 / 90, 0.750, 0.227), (0.0, 2.611, 0.005)):
        assert differences.mean() / resampled_error(differences, share) == pytest.approx(t, abs=0.0005)
        assert resampled_p(differences, share) / 2 == pytest.approx(p, abs=0.0005)
