"""Loading: samples a second of seglab, of loops by hand, and with the cache; the fingerprint of many files."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

from seglab import ImageMaskFolder, LightAugmentation, SegmentationDataModule, StrongAugmentation, default_augmentation
from seglab.data.augmentation.contract import fault_of
from seglab.data.augmentation.pipeline import pipeline_of
from seglab.memory import keep_freed_memory
from seglab.sample import Sample

IMAGES, LARGE, SMALL, BATCH, ROUNDS = 128, (720, 960), (256, 352), 8, 9
FILES = 100_000


def bench_data(console: Console) -> None:
    """Measure decode-bound samples per second: JPEG images of 720×960 with PNG masks, resized to 256×352, augmented.

    The augmentation is the default pipeline.

    Workers of seglab keep freed memory. The loop by hand is measured with this setting too, in a line of its own.
    Without workers, all loops share a process, which keeps freed memory as the processes of seglab do. It does so last,
    as forked workers would inherit this.
    """
    with tempfile.TemporaryDirectory() as place:
        os.environ["SEGLAB_CACHE"] = f"{place}/cache"
        root = written(Path(place, "data"))
        for workers in (1, 2, 0):
            if workers == 0:
                keep_freed_memory()
            candidates: dict[str, Callable[[], Iterator[Any]]] = {
                "cv2 + albumentations": epochs(by_hand(root, workers)),
                "the same, keeps freed memory": epochs(by_hand(root, workers, keeps_memory=True)),
                "torchvision v2": epochs(torchvision_loader(root, workers)),
                "seglab": epochs(seglab_loader(root, workers, cache=False)),
                "seglab, cache": epochs(seglab_loader(root, workers, cache=True)),
            }
            show_rates(console, f"samples a second, {workers} workers", rates(candidates))
        show_rates(console, "samples a second, one process, cached", rates({
            name: epochs(seglab_loader(root, 0, cache=True, augmentation=augmentation))
            for name, augmentation in (("none", None), ("default", default_augmentation), ("light", LightAugmentation()), ("strong", StrongAugmentation()))
        }))  # fmt: skip
        check_cost(console, root)
    many_files(console)


def written(root: Path) -> Path:
    """Write a data set of photographs-like images: smooth noise, so that a JPEG is neither empty nor full."""
    rng = np.random.default_rng(0)
    for split, number in (("train", IMAGES), ("val", 1), ("test", 1)):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for index in range(number):
            image = cv2.GaussianBlur(rng.integers(0, 256, (*LARGE, 3), dtype=np.uint8), (0, 0), 2).astype(float)
            image = 255 * (image - image.min()) / np.ptp(image)
            mask = rng.integers(0, 12, (LARGE[0] // 40, LARGE[1] // 40), dtype=np.uint8).repeat(40, 0).repeat(40, 1)
            cv2.imwrite(str(root / split / "images" / f"{index}.jpg"), image.astype(np.uint8))
            Image.fromarray(mask).save(root / split / "masks" / f"{index}.png")
    return root


class ByHand(Dataset[Sample]):
    """Load as a user does by hand: cv2 reads and resizes, albumentations augments."""

    def __init__(self, root: Path, transform: Callable[[Any, Any], tuple[Any, Any]]) -> None:
        self.files = [(path, root / "train" / "masks" / f"{path.stem}.png") for path in sorted((root / "train" / "images").iterdir())]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        image, mask = self.files[index]
        pixels = cv2.imread(str(image), cv2.IMREAD_COLOR_RGB)
        return Sample(*self.transform(pixels, cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)), image.name)


def by_hand(root: Path, workers: int, keeps_memory: bool = False) -> DataLoader[Any]:
    compose = default_augmentation()

    def transform(image: Any, mask: Any) -> tuple[Any, Any]:
        image = cv2.resize(image, SMALL[::-1], interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask, SMALL[::-1], interpolation=cv2.INTER_NEAREST)
        result = compose(image=image, mask=mask)
        return torch.from_numpy(result["image"]).permute(2, 0, 1), torch.from_numpy(result["mask"])

    return loader_of(ByHand(root, transform), workers, (lambda _: keep_freed_memory()) if keeps_memory else None)


def torchvision_loader(root: Path, workers: int) -> DataLoader[Any]:
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    augmented = v2.Compose([
        v2.Resize(SMALL), v2.RandomHorizontalFlip(0.5), v2.RandomAffine(0, (0.125, 0.125), (0.75, 1.5)), v2.ColorJitter(0.15, 0.15)
    ])  # fmt: skip

    def transform(image: Any, mask: Any) -> tuple[Any, Any]:
        result: tuple[Any, Any] = augmented(
            tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)), tv_tensors.Mask(torch.from_numpy(mask))
        )
        return result[0].as_subclass(torch.Tensor), result[1].as_subclass(torch.Tensor)

    return loader_of(ByHand(root, transform), workers)


def loader_of(dataset: Dataset[Sample], workers: int, init: Callable[[int], None] | None = None) -> DataLoader[Any]:
    return DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0, worker_init_fn=init)


def seglab_loader(root: Path, workers: int, cache: bool, augmentation: Any = default_augmentation) -> DataLoader[Any]:
    source = ImageMaskFolder(root, 12)
    data = SegmentationDataModule(source, batch_size=BATCH, size=SMALL, num_workers=workers, cache=cache, augmentation=augmentation)
    return data.train_dataloader()


def epochs(loader: DataLoader[Any]) -> Callable[[], Iterator[Any]]:
    return lambda: iter(loader)


def rates(candidates: dict[str, Callable[[], Iterator[Any]]]) -> dict[str, list[float]]:
    """Samples a second of each candidate, in turn; the first epoch starts the workers and is not counted."""
    found: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(ROUNDS + 1):
        for name, epoch in candidates.items():
            began = time.perf_counter()
            samples = sum(len(batch.name) for batch in epoch())
            if turn:
                found[name].append(samples / (time.perf_counter() - began))
    return found


def check_cost(console: Console, root: Path) -> None:
    """Print the cost of the contract's check relative to a sample, and to the augmentation alone.

    A sample includes decoding, resizing and augmenting.
    """
    data = SegmentationDataModule(ImageMaskFolder(root, 12), size=SMALL, cache=False, num_workers=0)
    dataset = data._samples("train")
    image, mask, _ = dataset[0]
    before = np.ascontiguousarray(image.permute(1, 2, 0).numpy()), mask.numpy()
    pipeline = pipeline_of(default_augmentation)
    after = pipeline.augment(*before, np.random.SeedSequence(0))
    seeds = map(np.random.SeedSequence, range(1000))
    check = median_seconds(lambda: fault_of(before, *after, every=4))
    sample = median_seconds(lambda: dataset[1])
    augment = mean_seconds(lambda: pipeline.augment(*before, next(seeds)))
    console.print(
        f"the contract's check: {1e3 * check:.3f} ms, {100 * check / (sample + augment):.1f} % of a sample ({1e3 * (sample + augment):.2f} ms), "
        f"{100 * check / augment:.1f} % of the augmentation alone ({1e3 * augment:.2f} ms)"
    )


def median_seconds(work: Callable[[], object], times: int = 60) -> float:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def mean_seconds(work: Callable[[], object], times: int = 200) -> float:
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times


def many_files(console: Console) -> None:
    """List and hash a folder of many small files."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        tiny = cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes()
        for split, number in (("train", FILES), ("val", 1), ("test", 1)):
            for kind in ("images", "masks"):
                (folder := root / split / kind).mkdir(parents=True)
                for name in range(number):
                    (folder / f"{name:06}.png").write_bytes(tiny)
        began = time.perf_counter()
        source = ImageMaskFolder(root, 2)
        listed = time.perf_counter()
        source.split("train").fingerprint()  # type: ignore[attr-defined]
        console.print(f"{FILES:,} pairs of files: {listed - began:.1f} s to list, {time.perf_counter() - listed:.1f} s to fingerprint")


def show_rates(console: Console, title: str, found: dict[str, Sequence[float]] | dict[str, list[float]]) -> None:
    """Print samples a second: medians, and the ratio to the first candidate, epoch by epoch."""
    reference = next(iter(found))
    table = Table(title=title, title_justify="left")
    for heading in ("", "samples/s", f"ratio to {reference}", "its quartiles"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, values in found.items():
        low, middle, high = statistics.quantiles([ours / theirs for ours, theirs in zip(values, found[reference], strict=True)], n=4)
        table.add_row(name, f"{statistics.median(values):.1f}", f"{middle:.2f}", f"{low:.2f} to {high:.2f}")
    console.print(table)
