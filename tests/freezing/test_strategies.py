"""Strategies under which freezing would not be what it says are refused before anything trains."""

import os
from unittest.mock import patch

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy, Strategy

from seglab.callbacks.ranks import check_strategy
from tests.freezing.deep import SCHEDULES, Deep
from tests.nets import fixed_module, loader
from tests.trainers import quiet_trainer


@pytest.mark.parametrize("strategy", [FSDPStrategy, ModelParallelStrategy])
def test_sharded_weights_are_refused(strategy: type[Strategy]) -> None:
    trainer = quiet_trainer()
    trainer._accelerator_connector.strategy = strategy()  # Lightning itself takes it on GPUs alone
    with pytest.raises(ValueError, match=rf"{strategy.__name__} splits weights over processes.*strategy='ddp'"):
        check_strategy(trainer, freezes=False)


def test_deep_speed_is_no_ddp() -> None:
    assert issubclass(DeepSpeedStrategy, DDPStrategy), "else it need not be left out by name"


def test_a_static_graph_is_refused_beside_a_schedule() -> None:
    strategy = DDPStrategy(process_group_backend="gloo", static_graph=True)
    module = fixed_module(None, net=Deep, freeze=SCHEDULES["gradual"])
    with (
        patch.dict(os.environ),
        pytest.raises(ValueError, match="static_graph=True assumes that the graph of the first step never changes"),
    ):
        quiet_trainer(strategy=strategy, devices=1).fit(module, loader(), loader())
    torch.distributed.destroy_process_group()
