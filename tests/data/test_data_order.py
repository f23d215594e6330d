"""The order and the augmentations are functions of (seed, epoch, index): workers, ranks and a resume change nothing."""

import errno
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from seglab.data import SegmentationDataModule, Shapes
from seglab.data.loading.loader import TrainLoader, ignore_signals, prepare_worker
from seglab.data.loading.sampler import EpochSampler
from seglab.sample import Batch

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # Lightning 2.6.6 under torch 2.15
]


def shapes(workers: int = 0, **arguments: Any) -> SegmentationDataModule:
    source = Shapes(num_train=11, num_val=5, num_test=3, image_size=16)
    return SegmentationDataModule(source, batch_size=4, num_workers=workers, **arguments)


def epochs(loader: TrainLoader, number: int) -> list[list[Batch]]:
    batches = []
    for epoch in range(number):
        loader.sampler.set_epoch(epoch)
        batches.append(list(loader))
    return batches


def same(a: Batch, b: Batch) -> bool:
    return a.name == b.name and torch.equal(a.image, b.image) and torch.equal(a.mask, b.mask)


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 2**32), st.integers(0, 5), st.sampled_from([1, 2, 3, 4]))
def test_the_ranks_together_see_the_same_global_batches(length: int, per_rank: int, seed: int, epoch: int, world_size: int) -> None:
    batch_size = per_rank * world_size
    if length < batch_size and length % world_size != 0:
        with pytest.raises(ValueError, match="choose a batch_size that is a multiple"):
            EpochSampler(length, batch_size, seed, 0, world_size)
        return

    def batches(rank: int, world_size: int) -> list[set[tuple[int, ...]]]:
        sampler = EpochSampler(length, batch_size, seed, rank, world_size)
        sampler.set_epoch(epoch)
        keys, part = list(sampler), sampler.batch_size_per_rank
        assert len(keys) == len(sampler)
        return [set(keys[i : i + part]) for i in range(0, len(keys), part)]

    alone = batches(0, 1)
    parts = [batches(rank, world_size) for rank in range(world_size)]
    assert alone == [set().union(*step) for step in zip(*parts, strict=True)]
    seen = [key for batch in alone for key in batch]
    assert len(seen) == len(set(seen)) == max(length - length % batch_size, min(length, batch_size))
    assert set(seen) <= {(epoch, index) for index in range(length)}


def test_epochs_and_seeds_differ() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(50, 5, seed)
        sampler.set_epoch(epoch)
        return [index for _, index in sampler]

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_workers_change_nothing_and_epochs_are_augmented_anew() -> None:
    alone, helped = (epochs(shapes(workers).with_seed(3).train_dataloader(), 2) for workers in (0, 2))
    assert [len(epoch) for epoch in alone] == [2, 2]
    assert all(same(a, b) for left, right in zip(alone, helped, strict=True) for a, b in zip(left, right, strict=True))
    first, second = ({n: i for b in epoch for n, i in zip(b.name, b.image, strict=True)} for epoch in alone)
    common = first.keys() & second.keys()
    assert len(common) >= 4
    assert not all(torch.equal(first[name], second[name]) for name in common)


def test_two_arms_with_one_seed_see_identical_batches_and_two_seeds_do_not() -> None:
    data = shapes()
    a, b, c = (epochs(data.with_seed(seed).train_dataloader(), 1)[0] for seed in (5, 5, 6))
    assert all(same(x, y) for x, y in zip(a, b, strict=True))
    assert not any(same(x, y) for x, y in zip(a, c, strict=True))


def with_ranks(data: SegmentationDataModule, rank: int, world_size: int) -> SegmentationDataModule:
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_rank=rank,
        world_size=world_size,
        num_devices=world_size,
        overfit_batches=0.0,
        strategy=strategy,
    )
    return data


def test_two_ranks_train_on_the_samples_of_one_and_evaluate_each_once() -> None:
    def samples(world_size: int) -> list[dict[str, Tensor]]:
        ranks = [list(with_ranks(shapes().with_seed(1), rank, world_size).train_dataloader()) for rank in range(world_size)]
        return [{n: i for b in step for n, i in zip(b.name, b.image, strict=True)} for step in zip(*ranks, strict=True)]

    for one, two in zip(samples(1), samples(2), strict=True):
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one)
    names = [[n for b in with_ranks(shapes(), rank, 2).val_dataloader() for n in b.name] for rank in (0, 1)]
    assert names == [["val/0", "val/2", "val/4"], ["val/1", "val/3"]]


def test_what_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ValueError, match="batch of 4 is shared by all ranks and does not divide among 3"):
        with_ranks(shapes(), 0, 3).train_dataloader()
    with pytest.raises(ValueError, match="seed is -1"):
        shapes().with_seed(-1)


def test_an_epoch_can_be_continued_where_it_was_cut() -> None:
    whole = epochs(shapes().train_dataloader(), 2)[1]
    cut = shapes().train_dataloader()
    cut.sampler.set_epoch(1)
    next(iter(cut))
    resumed = shapes().train_dataloader()
    resumed.load_state_dict(cut.state_dict())
    resumed.sampler.set_epoch(1)
    assert resumed.state_dict() == {"epoch": 1, "batches": 1}
    assert [batch.name for batch in resumed] == [batch.name for batch in whole[1:]]
    assert [batch.name for batch in resumed] == [batch.name for batch in whole], "the second pass is a whole one"
    resumed.load_state_dict(cut.state_dict())
    resumed.sampler.set_epoch(2)
    assert len(list(resumed)) == 2, "another epoch is not cut"


def test_workers_leave_signals_to_the_main_process() -> None:
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    before = [signal.getsignal(name) for name in names]
    try:
        ignore_signals(0)
        assert [signal.getsignal(name) for name in names] == [signal.SIG_IGN] * 4
    finally:
        for name, handler in zip(names, before, strict=True):
            signal.signal(name, handler)


class Unsendable:
    """A batch that finds no room in shared memory."""

    def __reduce__(self) -> str:
        raise OSError(errno.ENOSPC, "unable to allocate shared memory")


def as_unsendable(batch: object) -> Unsendable:
    return Unsendable()


def test_a_batch_that_a_worker_cannot_send_is_an_error_and_not_waited_for() -> None:
    data: list[int] = [1, 2]
    loader = DataLoader(data, num_workers=1, worker_init_fn=prepare_worker, collate_fn=as_unsendable, timeout=30)  # type: ignore[var-annotated,arg-type]
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        list(loader)


HOLDS = """
from seglab import SegmentationDataModule, Shapes
data = SegmentationDataModule(Shapes(image_size=16), batch_size=4, num_workers=2)
loaders = [loader() for loader in (data.train_dataloader, data.val_dataloader) for _ in range(2)]
iterators = [iter(loader) for loader in loaders]
print(*(len(next(iterator).name) for iterator in iterators))
"""


def test_a_script_that_still_holds_workers_ends() -> None:
    """Python asks the workers by SIGTERM, which they ignore, and would wait for them for ever."""
    done = subprocess.run([sys.executable, "-c", HOLDS], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["4"] * 4), done.stderr


def test_a_batch_of_a_worker_has_the_sizes_of_its_samples() -> None:
    """They are sent as numbers, and are tensors again."""
    (alone,), (sent,) = (list(shapes(workers).test_dataloader()) for workers in (0, 1))
    assert isinstance(sent, Batch)
    assert sent.name == alone.name
    for name in ("image", "mask", "image_size", "mask_size"):
        one, other = getattr(alone, name), getattr(sent, name)
        assert (one.dtype, one.tolist()) == (other.dtype, other.tolist()), name


class Recorder(L.LightningModule):
    """Learns nothing of interest; writes down which names came in which epoch."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)
        self.stop_at, self.seen, self.evaluated = stop_at, list[tuple[int, tuple[str, ...]]](), list[str]()

    def training_step(self, batch: Batch, index: int) -> Tensor:
        if self.global_step == self.stop_at:
            raise KeyboardInterrupt
        self.seen.append((self.current_epoch, batch.name))
        loss: Tensor = self.layer(batch.image.float() / 255).mean()
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        self.evaluated += batch.name

    def predict_step(self, batch: Batch, index: int) -> tuple[str, ...]:
        return batch.name

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(directory: Any, epochs: int = 3, **arguments: Any) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, use_distributed_sampler=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=directory, num_sanity_val_steps=0, **arguments,
    )  # fmt: skip


VARIANTS = pytest.mark.parametrize(
    "arguments", [{}, {"balanced_images": 1.0, "crop": (8, 12), "balanced_crops": 0.5}], ids=["plain", "balanced"]
)


def expected(epoch: int, **arguments: Any) -> list[tuple[str, ...]]:
    loader = shapes(**arguments).with_seed(2).train_dataloader()
    loader.sampler.set_epoch(epoch)
    return [batch.name for batch in loader]


@pytest.mark.parametrize("workers", [0, 2])
def test_lightning_tells_the_sampler_each_epoch(tmp_path: Any, workers: int) -> None:
    module = Recorder()
    trainer(tmp_path, enable_checkpointing=False).fit(module, datamodule=shapes(workers).with_seed(2))
    assert module.seen == [(epoch, names) for epoch in range(3) for names in expected(epoch)]
    assert module.evaluated == [f"val/{index}" for index in range(5)] * 3


@VARIANTS
@pytest.mark.parametrize(("stop_at", "every"), [(3, 1), (2, 1), (4, 1), (5, 1), (4, 2)])
def test_lightning_resumes_in_the_middle_and_between_epochs(tmp_path: Any, stop_at: int, every: int, arguments: dict[str, Any]) -> None:
    def checkpoint() -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path, every_n_train_steps=every, save_last=True)

    cut, resumed = Recorder(stop_at), Recorder()
    with pytest.raises(SystemExit):
        trainer(tmp_path, callbacks=[checkpoint()]).fit(cut, datamodule=shapes(**arguments).with_seed(2))
    again = trainer(tmp_path, callbacks=[checkpoint()])
    again.fit(resumed, datamodule=shapes(**arguments).with_seed(2), ckpt_path=tmp_path / "last.ckpt", weights_only=False)
    done = cut.seen[: stop_at // every * every]
    assert done + resumed.seen == [(epoch, names) for epoch in range(3) for names in expected(epoch, **arguments)]


def test_lightning_resumes_a_shortened_epoch(tmp_path: Any) -> None:
    data = SegmentationDataModule(Shapes(num_train=20, num_val=2, num_test=2, image_size=16), batch_size=4, num_workers=0)
    whole, first, second = Recorder(), Recorder(), Recorder()
    trainer(tmp_path, 2, limit_train_batches=3, enable_checkpointing=False).fit(whole, datamodule=data.with_seed(0))
    trainer(tmp_path, 1, limit_train_batches=3, callbacks=[ModelCheckpoint(tmp_path, save_last=True)]).fit(
        first, datamodule=data.with_seed(0)
    )
    again = trainer(tmp_path, 2, limit_train_batches=3, callbacks=[ModelCheckpoint(tmp_path, save_last=True)])
    again.fit(second, datamodule=data.with_seed(0), ckpt_path=tmp_path / "last.ckpt", weights_only=False)
    assert first.seen + second.seen == whole.seen


def test_prediction_is_over_the_test_split(tmp_path: Any) -> None:
    names = trainer(tmp_path, enable_checkpointing=False).predict(Recorder(), datamodule=shapes())
    assert names == [("test/0", "test/1", "test/2")]


def test_overfit_batches_is_refused(tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="use limit_train_batches"):
        trainer(tmp_path, enable_checkpointing=False, overfit_batches=1).fit(Recorder(), datamodule=shapes())


TWO_PROCESSES = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
from tests.data.test_data_order import Recorder, shapes, trainer

if __name__ == "__main__":
    module, data = Recorder(), shapes(**json.loads(sys.argv[3])).with_seed(2)
    trainer(sys.argv[2], 2, enable_checkpointing=False, devices=2, strategy="ddp").fit(module, datamodule=data)
    pathlib.Path(sys.argv[2], f"{module.global_rank}.json").write_text(json.dumps([module.seen, module.evaluated]))
"""


@pytest.mark.slow
@VARIANTS
def test_two_real_processes_share_each_batch(tmp_path: Path, arguments: dict[str, Any]) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES)
    subprocess.run(
        [sys.executable, script, Path(__file__).parent, tmp_path, json.dumps(arguments)], check=True, capture_output=True, timeout=300
    )
    (seen, evaluated), (other_seen, other_evaluated) = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    together = [(epoch, sorted([*names, *others])) for (epoch, names), (_, others) in zip(seen, other_seen, strict=True)]
    assert together == [(epoch, sorted(names)) for epoch in range(2) for names in expected(epoch, **arguments)]
    assert evaluated == ["val/0", "val/2", "val/4"] * 2
    assert other_evaluated == ["val/1", "val/3"] * 2
