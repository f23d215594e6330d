"""The probe of a server, in all ways in which it may not answer."""

import time

import pytest

from seglab.tracking import reach
from tests.wandb.server import Fault, WandbServer


@pytest.mark.parametrize("fault", [None, "401"])
def test_a_server_that_works_or_refuses_the_key_answers(fault: Fault | None) -> None:
    with WandbServer() as server:
        if fault is not None:
            server.break_down(fault)
        reach.check_answers(server.url)


@pytest.mark.parametrize(("fault", "said"), [("refuse", "does not answer"), ("hang", "does not answer"), ("503", "answers 503")])
def test_a_server_that_is_away_is_named(fault: Fault, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "PROBE_SECONDS", 0.5)
    with WandbServer() as server:
        server.break_down(fault)
        began = time.perf_counter()
        with pytest.raises(ConnectionError, match=f"{server.url} {said}"):
            reach.check_answers(server.url)
        assert time.perf_counter() - began < 5
