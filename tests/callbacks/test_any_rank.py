"""A request by one process reaches both in the same call on CPUs, and one call later on GPUs.

The processes do not wait for a GPU.
"""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from seglab.callbacks.ranks import AnyRank

SAID = [[False, True, False, False, True, True, True, False], [False, False, False, True, True, False, False, False]]
ANSWERS = {
    "cpu": [False, True, False, True, True, True, True, False],
    "cuda": [False, False, True, False, True, False, True, False],
}


def one_of_two(rank: int, folder: str, device: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    any_rank = AnyRank(torch.device(device))
    torch.save([any_rank(yes) for yes in SAID[rank]], f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


ON_GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", ON_GPU])
def test_all_learn_what_one_wants(device: str, tmp_path: Path) -> None:
    mp.spawn(one_of_two, args=(str(tmp_path), device), nprocs=2)
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=True) == ANSWERS[device]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_the_processor_does_not_wait(tmp_path: Path) -> None:
    dist.init_process_group("nccl", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    any_rank = AnyRank(torch.device("cuda", 0))
    any_rank(False)  # NCCL starts
    torch.cuda.set_sync_debug_mode("error")
    try:
        answers = [any_rank(yes) for yes in (True, False, False)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
        dist.destroy_process_group()
    assert answers == [False, True, False]
