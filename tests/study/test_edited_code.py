"""An edited loss is another loss: a study refuses to go on with it unless a user says that it is the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = '''
"""Does a scaled loss matter?"""

from torch import nn

import losses
from seglab import CrossEntropy, SegmentationDataModule, SegmentationModule, Shapes, Study, main
from tests.study.tiny_experiment import Small

DATA = SegmentationDataModule(Shapes(num_train=8, num_val=2, num_test=2, image_size=32, num_shapes=3), batch_size=4, num_workers=0)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = CrossEntropy()

    def forward(self, logits, mask):
        return losses.scaled(self.inner(logits, mask))


class Other(Scaled):
    def forward(self, logits, mask):
        return 2 * self.inner(logits, mask)


def study(seeds: int = 1) -> Study:
    def arm(loss):
        return lambda: SegmentationModule(Small(DATA.num_classes, 0.0), loss(), num_classes=DATA.num_classes)

    return Study("edited", data=DATA, epochs=1, seeds=range(seeds), baseline="plain", arms={"plain": arm(CrossEntropy), "scaled": arm(Scaled)})


if __name__ == "__main__":
    main(study)
'''
LOSSES = "def scaled(value):\n    return value * 2\n"


def run(folder: Path, *words: str) -> tuple[int, str]:
    command = [sys.executable, "script.py", "run", "--wandb", "disabled", "--amend", "more seeds", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.weekly
def test_an_edited_helper_is_refused_by_name_and_accepted_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "losses.py").write_text(LOSSES)
    assert run(tmp_path)[0] == 0
    (tmp_path / "losses.py").write_text("# Only a comment.\n" + LOSSES)
    code, said = run(tmp_path, "--seeds", "2")
    assert code == 0, said
    (tmp_path / "losses.py").write_text("def scaled(value):\n    return 2 * value\n")
    code, said = run(tmp_path, "--seeds", "3")
    assert code == 2
    assert said.startswith("error: runs/edited holds runs of other settings")
    assert "arm scaled: the code of losses.scaled has been edited" in said
    assert "--accept_code" in said
    assert said.count("\n") == 1
    assert "arm plain" not in said
    code, said = run(tmp_path, "--seeds", "3", "--accept_code", "the factors are swapped")
    assert code == 0, said
    record = json.loads((tmp_path / "runs" / "edited" / "study.json").read_text())
    assert [(edit["name"], edit["why"]) for edit in record["accepted"]] == [("losses.scaled", "the factors are swapped")]
    found = [json.loads(path.read_text())["identity"] for path in tmp_path.glob("runs/edited/scaled/seed-*/result.json")]
    assert len(found) == 3
    assert len(set(found)) == 1
    code, said = run(tmp_path, "--seeds", "4")
    assert code == 0, said
    (tmp_path / "script.py").write_text(SCRIPT.replace("2 * self.inner", "3 * self.inner"))  # a loss that no arm has
    assert run(tmp_path, "--seeds", "4")[0] == 0
    (tmp_path / "script.py").write_text(SCRIPT.replace("losses.scaled(", "3 * losses.scaled("))
    code, said = run(tmp_path, "--seeds", "5")
    assert code == 2
    assert "arm scaled: the code of script.Scaled has been edited" in said
