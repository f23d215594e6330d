"""Several `run --arm` that start at the same moment in a new folder: each finds its arm in study.json."""

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

from seglab.records import StudyRecord, read_record
from seglab.running.plan import Plan, Script, Selection, agreed_record, save_record
from seglab.running.resources import Resources
from tests.study.tiny_experiment import study

PROCESSES = multiprocessing.get_context("fork")
ROUNDS = 6


def save(plans: list[tuple[Plan, StudyRecord]], barrier: Barrier) -> None:
    for plan, agreed in plans:
        barrier.wait(60)
        save_record(plan, agreed)


def test_no_arm_is_lost(tmp_path: Path) -> None:
    wanted = study(broken=True)
    roots = [tmp_path / str(number) for number in range(ROUNDS)]
    barrier = PROCESSES.Barrier(len(wanted.arms))
    processes = []
    for arm in wanted.arms:
        plans = [Plan(wanted, root, Script(("script.py",)), Resources(accelerator="cpu"), Selection(arm=arm)) for root in roots]
        agreed = agreed_record(plans[0])
        processes.append(PROCESSES.Process(target=save, args=([(plan, agreed) for plan in plans], barrier)))
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    for root in roots:
        record = read_record(root / "tiny")
        assert record is not None
        assert set(record.arms) == set(wanted.arms)
