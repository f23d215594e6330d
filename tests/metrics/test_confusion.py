"""The confusion matrix and its scores against hand-computed cases and scikit-learn; what it refuses."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score, precision_score, recall_score
from torch import Tensor

from seglab.metrics import ConfusionMatrix, Scores, confusion_matrices, scores
from seglab.sample import IGNORE

C = 4


def drawn(seed: int, n: int = 3, classes: int = C, ignored: float = 0.2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.randint(0, classes, (n, 5, 7), generator=generator)
    mask = torch.randint(0, classes, (n, 5, 7), generator=generator)
    return prediction, mask.masked_fill(torch.rand(mask.shape, generator=generator) < ignored, IGNORE)


def of(prediction: Tensor, mask: Tensor, per_image: bool = False) -> Scores:
    metric = ConfusionMatrix(C, per_image=per_image)
    metric.update(prediction, mask)
    return metric.compute()


def test_by_hand() -> None:
    prediction = torch.tensor([[[0, 0, 1, 1, 2, 0]]])
    mask = torch.tensor([[[0, 1, 1, 1, 0, IGNORE]]])  # class 2 is only predicted, class 3 is in neither
    nan = torch.nan
    result = of(prediction, mask)
    assert confusion_matrices(prediction, mask, C).tolist() == [[[1, 0, 1, 0], [1, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]]
    expected = {
        "iou": [1 / 3, 2 / 3, 0, nan],
        "dice": [1 / 2, 4 / 5, 0, nan],
        "precision": [1 / 2, 1, 0, nan],
        "recall": [1 / 2, 2 / 3, nan, nan],
        "frequency": [2 / 5, 3 / 5, 0, 0],
    }
    assert result.per_class.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(result.per_class[name], torch.tensor(values, dtype=torch.float64), equal_nan=True)
    means = {
        "miou": 1 / 3,
        "dice": 1.3 / 3,
        "rare_miou": 1 / 3,  # of classes 0 and 1 in the truth, 0 has fewer pixels
        "pixel_accuracy": 3 / 5,
        "class_accuracy": (1 / 2 + 2 / 3) / 2,
        "fwiou": (2 * 1 / 3 + 3 * 2 / 3) / 5,
    }
    assert {name: value.item() for name, value in result.mean.items()} == pytest.approx(means)
    assert all(value.dtype == torch.float64 for value in [*result.mean.values(), *result.per_class.values()])


def test_present_and_missed_is_zero() -> None:
    result = of(torch.zeros(1, 2, 2).long(), torch.tensor([[[0, 1], [0, 0]]]))
    assert result.per_class["iou"][1] == 0
    assert result.per_class["recall"][1] == 0
    assert result.per_class["precision"][1].isnan()
    assert result.mean["miou"].item() == pytest.approx(3 / 4 / 2)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), used=st.integers(1, C), ignored=st.sampled_from([0.0, 0.3, 0.9]))
def test_is_scikit_learns(seed: int, used: int, ignored: float) -> None:
    prediction, mask = drawn(seed, classes=used, ignored=ignored)
    mask[0, 0, 0] = 0  # one valid pixel at least
    valid = mask != IGNORE
    y, p = mask[valid].numpy(), prediction[valid].numpy()
    result = of(prediction, mask)
    assert (result.confusion.numpy() == confusion_matrix(y, p, labels=range(C))).all()
    for name, score in {"iou": jaccard_score, "dice": f1_score, "precision": precision_score, "recall": recall_score}.items():
        theirs = torch.from_numpy(score(y, p, labels=range(C), average=None, zero_division=0))  # they say 0 where it is undefined
        torch.testing.assert_close(result.per_class[name].nan_to_num(0.0), theirs)
    seen = sorted({*y.tolist(), *p.tolist()})
    assert result.mean["miou"].item() == pytest.approx(jaccard_score(y, p, labels=seen, average="macro", zero_division=0))
    assert result.mean["dice"].item() == pytest.approx(f1_score(y, p, labels=seen, average="macro", zero_division=0))
    assert result.mean["pixel_accuracy"].item() == pytest.approx(accuracy_score(y, p))
    assert result.mean["class_accuracy"].item() == pytest.approx(recall_score(y, p, labels=sorted(set(y.tolist())), average="macro"))
    assert result.mean["fwiou"].item() == pytest.approx(jaccard_score(y, p, average="weighted", zero_division=0))


@pytest.mark.parametrize(
    ("pixels", "rare"),
    [([5, 2, 3, 9], [1, 2]), ([5, 0, 3, 9], [2]), ([0, 0, 3, 0], [2]), ([4, 4, 4, 4], [0, 1]), ([9, 1, 0, 1], [1])],
)
def test_rare_miou_is_the_mean_over_the_rarer_half_of_the_classes_in_the_truth(pixels: list[int], rare: list[int]) -> None:
    """Rounded down, but one class at least; the first of equally rare ones."""
    matrix = torch.zeros(4, 4).long()
    for index, number in enumerate(pixels):
        matrix[index, index], matrix[index, index - 1] = number - number // 3, number // 3
    found = scores(matrix)
    assert found.mean["rare_miou"].item() == pytest.approx(found.per_class["iou"][rare].mean().item())


@settings(deadline=None)
@given(seed=st.integers(0, 1000), sizes=st.permutations([1, 2, 3]))
def test_batch_size_and_order_do_not_matter(seed: int, sizes: list[int]) -> None:
    prediction, mask = drawn(seed, n=6)
    metric = ConfusionMatrix(C)
    for p, m in reversed(list(zip(prediction.split(sizes), mask.split(sizes), strict=True))):
        metric.update(p, m)
    assert torch.equal(metric.compute().confusion, of(prediction, mask).confusion)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_integer_dtype(dtype: torch.dtype) -> None:
    prediction, mask = drawn(0)
    expected = confusion_matrices(prediction, mask, C)
    assert torch.equal(confusion_matrices(prediction.to(dtype), mask.to(dtype), C), expected)
    assert expected.dtype == torch.int64


def test_uint8_does_not_wrap_around() -> None:
    mask = torch.full((1, 2, 2), 156, dtype=torch.uint8)  # −100 modulo 256
    assert confusion_matrices(mask, mask, 200, ignore_index=-100)[0, 156, 156] == 4


def test_images_are_kept_and_sum_to_the_data_set() -> None:
    prediction, mask = drawn(1)
    result = of(prediction, mask, per_image=True)
    assert result.images is not None
    assert result.images.dtype == torch.int32
    for i in range(3):
        assert torch.equal(result.images[i].long(), of(prediction[i : i + 1], mask[i : i + 1]).confusion)
    assert torch.equal(result.images.sum(0), result.confusion)
    assert of(prediction, mask).images is None


def test_scores_of_many_matrices_are_those_of_each() -> None:
    matrices = confusion_matrices(*drawn(2), C)
    together = scores(matrices)
    for i, matrix in enumerate(matrices):
        torch.testing.assert_close(together.per_class["iou"][i], scores(matrix).per_class["iou"], equal_nan=True)
        assert together.mean["miou"][i] == scores(matrix).mean["miou"]


def test_all_ignored_is_nan_everywhere() -> None:
    result = of(torch.zeros(2, 3, 3).long(), torch.full((2, 3, 3), IGNORE), per_image=True)
    assert result.confusion.sum() == 0
    assert all(value.isnan().all() for value in [*result.mean.values(), *result.per_class.values()])


def test_reset_empties_it() -> None:
    metric = ConfusionMatrix(C, per_image=True)
    metric.update(*drawn(0))
    metric.reset()
    metric.update(*drawn(1))
    result = metric.compute()
    assert torch.equal(result.confusion, of(*drawn(1)).confusion)
    assert result.images is not None
    assert len(result.images) == 3


def test_deterministic_algorithms_give_the_same() -> None:
    expected = of(*drawn(0)).confusion
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(of(*drawn(0)).confusion, expected)
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("mask", C, "^mask holds 4, but the classes are 0..3, and a mask's 255 is ignored"),
        ("mask", -1, "^mask holds -1,"),
        ("mask", 254, "^mask holds 254,"),
        ("mask", 256, "^mask holds 256,"),
        ("mask", 2**16, "^mask holds 65536,"),
        ("mask", -(2**63), "^mask holds -9223372036854775808,"),
        ("prediction", C, "^prediction holds 4,"),
        ("prediction", -1, "^prediction holds -1,"),
        ("prediction", IGNORE, "^prediction holds 255,"),
        ("prediction", 2**16, "^prediction holds 65536,"),
        ("prediction", -(2**16), "^prediction holds -65536,"),
        ("prediction", 2**32 + 1, "^prediction holds 4294967297,"),
        ("prediction", -(2**63), "^prediction holds -9223372036854775808,"),
    ],
)
def test_values_outside_the_classes_raise_and_leave_the_state(where: str, value: int, message: str) -> None:
    prediction, mask = drawn(0)
    metric = ConfusionMatrix(C, per_image=True)
    metric.update(prediction, mask)
    before, images = metric.matrix.clone(), len(metric.images)
    {"prediction": prediction, "mask": mask}[where][1, 2, 3] = value
    with pytest.raises(ValueError, match=message):
        metric.update(prediction, mask)
    assert torch.equal(metric.matrix, before)
    assert len(metric.images) == images


def test_every_value_outside_the_classes_raises() -> None:
    huge = torch.full((1, 2, 2), 2**30)
    with pytest.raises(ValueError, match="prediction holds 1073741824"):
        confusion_matrices(huge, torch.zeros(1, 2, 2).long(), C)


@pytest.mark.parametrize("ignore", [IGNORE, -1, -100, 256, 1000, 65535])
@pytest.mark.parametrize("label", [C, 100, 254])
def test_a_label_between_the_classes_and_the_ignored_one_raises(label: int, ignore: int) -> None:
    prediction, mask = drawn(0, ignored=0.0)
    mask[0, 0, :2] = torch.tensor([label, ignore])
    with pytest.raises(ValueError, match=f"^mask holds {label}, but .* {ignore} is ignored"):
        confusion_matrices(prediction, mask, C, ignore)
    assert confusion_matrices(prediction[1:], mask[1:], C, ignore).sum() == mask[1:].numel()


def test_a_negative_label_of_a_narrow_dtype_raises() -> None:
    with pytest.raises(ValueError, match=r"^mask holds -1, but"):
        confusion_matrices(torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), -1, dtype=torch.int8), C)


def test_both_wrong_are_named_with_a_few_of_their_labels() -> None:
    wrong = torch.arange(64).view(1, 8, 8)
    with pytest.raises(ValueError, match=r"prediction holds 4, 5, 6, 7, 8 and mask holds 4, 5, 6, 7, 8, but"):
        confusion_matrices(wrong, wrong, C)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    classes=st.sampled_from([2, 19, 127, 128, 255, 300]),
    ignore=st.sampled_from([-100, -1, 255, 300, 1000]),
    dtypes=st.tuples(*[st.sampled_from([torch.uint8, torch.int16, torch.int32, torch.int64, torch.uint16])] * 2),
)
def test_counts_are_those_of_a_loop_over_pixels(seed: int, classes: int, ignore: int, dtypes: tuple[torch.dtype, torch.dtype]) -> None:
    """Whatever the dtypes, among them those in which the ignored label or a class does not fit."""
    assume(not 0 <= ignore < classes)
    generator = torch.Generator().manual_seed(seed)
    fit = [min(classes, 256) if dtype == torch.uint8 else classes for dtype in dtypes]
    prediction, mask = (torch.randint(0, top, (2, 5, 7), generator=generator) for top in fit)
    if 0 <= ignore <= torch.iinfo(dtypes[1]).max or torch.iinfo(dtypes[1]).min < 0:
        mask[torch.rand(mask.shape, generator=generator) < 0.3] = ignore
    expected = torch.zeros(2, classes, classes, dtype=torch.int64)
    for image, p, t in zip([0] * 35 + [1] * 35, prediction.flatten().tolist(), mask.flatten().tolist(), strict=True):
        if t != ignore:
            expected[image, t, p] += 1
    assert torch.equal(confusion_matrices(prediction.to(dtypes[0]), mask.to(dtypes[1]), classes, ignore), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_inputs_stay_as_they_were_and_may_be_strided(dtype: torch.dtype) -> None:
    prediction, mask = (whole.to(dtype) for whole in drawn(0))
    before = prediction.clone(), mask.clone()
    expected = confusion_matrices(prediction, mask, C)
    assert torch.equal(prediction, before[0])
    assert torch.equal(mask, before[1])
    turned = confusion_matrices(prediction.mT.contiguous().mT, mask.flip(0).flip(0), C)
    assert torch.equal(turned, expected)
    assert torch.equal(
        confusion_matrices(prediction[:, ::2, 1:], mask[:, ::2, 1:], C).sum((1, 2)), (mask[:, ::2, 1:] != IGNORE).sum((1, 2))
    )


def test_what_is_returned_holds_no_more_memory() -> None:
    matrices = confusion_matrices(*drawn(0), C)
    assert matrices.untyped_storage().nbytes() == 8 * matrices.numel()


@pytest.mark.parametrize(
    ("prediction", "mask", "message"),
    [
        (torch.zeros(1, 2, 2), torch.zeros(1, 2, 2).long(), "prediction must be .* integer"),
        (torch.zeros(1, 2, 2).long(), torch.zeros(1, 2, 2).bool(), "mask must be"),
        (torch.zeros(2, 2).long(), torch.zeros(2, 2).long(), r"\(N,H,W\)"),
        (torch.zeros(1, 2, 2).long(), torch.zeros(1, 2, 3).long(), "one shape"),
    ],
)
def test_input_errors(prediction: Tensor, mask: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_matrices(prediction, mask, C)


@pytest.mark.parametrize(
    ("classes", "ignore", "message"),
    [
        (1, 255, "at least 2"),
        (256, 255, "is one of the 256"),
        (3, 0, "is one of"),
        (3, 2**31, "within ±65535"),
        (3, -(2**31), "within ±65535"),
    ],
)
def test_constructor_errors(classes: int, ignore: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConfusionMatrix(classes, ignore_index=ignore)
