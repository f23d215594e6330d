"""The stand-in W&B server: what the real client sends is kept, and each way to break down is what a client sees."""

import base64
import json
import subprocess
import sys
import threading
import time
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.wandb.server import KEY, Fault, WandbServer

CLIENT = Path(__file__).with_name("client.py")


def ask(server: WandbServer, query: str, key: str = KEY, seconds: float = 5.0) -> tuple[int, dict[str, Any]]:
    """Send a GraphQL request as a client does, and return the status and the answer."""
    headers = {"authorization": "Basic " + base64.b64encode(f"api:{key}".encode()).decode()}
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=seconds)) as connection:
        connection.request("POST", "/graphql", json.dumps({"query": query}), headers)
        with connection.getresponse() as answer:
            return answer.status, json.loads(answer.read())


def viewer(server: WandbServer, key: str = KEY, seconds: float = 5.0) -> object:
    """Ask who the user is; return the user, or the status of a refusal."""
    status, answer = ask(server, "query Viewer { viewer { entity } }", key, seconds)
    return answer["data"]["viewer"]["entity"] if status == 200 else status


def test_it_breaks_down_and_recovers(wandb_server: WandbServer) -> None:
    failures: dict[Fault, tuple[type[Exception], ...]] = {"refuse": (ConnectionError,), "cut": (HTTPException, ConnectionError)}
    for fault, errors in failures.items():
        assert viewer(wandb_server) == "me"
        wandb_server.break_down(fault)
        with pytest.raises(errors):
            viewer(wandb_server)
        wandb_server.recover()
    assert viewer(wandb_server) == "me"


def test_the_status_says_why(wandb_server: WandbServer) -> None:
    statuses: dict[Fault, int] = {"503": 503, "401": 401}
    for fault, status in statuses.items():
        wandb_server.break_down(fault)
        assert viewer(wandb_server) == status
        wandb_server.recover()
    assert (viewer(wandb_server), viewer(wandb_server, key="b" * 40)) == ("me", 401)


def test_it_hangs_until_it_recovers(wandb_server: WandbServer) -> None:
    wandb_server.break_down("hang")
    with pytest.raises(TimeoutError):
        viewer(wandb_server, seconds=0.3)
    threading.Timer(0.3, wandb_server.recover).start()
    began = time.monotonic()
    with pytest.raises((ConnectionError, HTTPException)):
        viewer(wandb_server)
    assert 0.2 < time.monotonic() - began < 3
    assert viewer(wandb_server) == "me"


def test_it_breaks_down_after_some_requests(wandb_server: WandbServer) -> None:
    wandb_server.break_down("refuse", after=2)
    assert [viewer(wandb_server), viewer(wandb_server)] == ["me", "me"]
    with pytest.raises((ConnectionError, HTTPException)):
        viewer(wandb_server)
    wandb_server.recover()
    assert viewer(wandb_server) == "me"


def test_what_it_cut_is_done(wandb_server: WandbServer) -> None:
    wandb_server.break_down("cut")
    with pytest.raises((HTTPException, ConnectionError)):
        viewer(wandb_server)
    assert wandb_server.operations["Viewer"] == 1


def test_it_says_what_it_does_not_know() -> None:
    with WandbServer() as server:
        assert "errors" in ask(server, "query Nonsense { nonsense }")[1]
        assert server.unknown == ["Nonsense"]


@pytest.mark.slow
def test_a_run_its_second_half_and_an_outage(wandb_server: WandbServer, tmp_path: Path) -> None:
    words = [sys.executable, str(CLIENT), str(tmp_path), "one"]
    first = subprocess.run([*words, "30"], env=wandb_server.environment(), capture_output=True, text=True, check=True)
    assert "begins at step 0" in first.stdout
    run = wandb_server.runs["one"]
    assert (run.project, run.group, run.job_type, run.exit_code) == ("stand-in", "l2", "train", 0)
    assert (run.tags, run.config) == (["tag"], {"lr": 0.5})
    assert [row["_step"] for row in run.rows] == list(range(31))
    assert [row["val/miou"] for row in run.rows[:30]] == [row / 30 for row in range(30)]
    assert run.table("test/classes") == (["class", "iou"], [["sky", 0.25], ["road", 0.75]])
    assert len([name for name in run.files if name.endswith(".png")]) == 2
    (record,) = (artifact for artifact in wandb_server.artifacts if artifact.kind == "run-record")
    assert (record.name, set(record.aliases), record.committed) == ("record", {"latest", "final"}, True)
    assert (record.metadata, record.files) == ({"seed": 1}, {"record.txt": b"content"})
    again = subprocess.Popen([*words, "10"], env=wandb_server.environment(), stdout=subprocess.PIPE, text=True)
    while run.starts < 4:
        time.sleep(0.01)
    wandb_server.break_down("cut")
    time.sleep(2)
    wandb_server.recover()
    again.communicate()
    assert (again.returncode, [row["_step"] for row in run.rows]) == (0, list(range(42)))
    assert run.keys == {"val/miou", "test/predictions", "test/classes"}
