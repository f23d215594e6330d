"""A script that logs one run with W&B's real client: `python client.py FOLDER ID ROWS`.

Its environment says to which server, if any.
"""

import sys
from pathlib import Path

import numpy as np
import wandb


def log_run(folder: Path, name: str, rows: int) -> None:
    """Log `rows` rows, then one with an image and a table, and an artifact. A run that is there already goes on."""
    run = wandb.init(
        project="stand-in", dir=folder, id=name, resume="allow", group="l2", job_type="train", tags=["tag"], config={"lr": 0.5}
    )
    print("begins at step", run.step)
    for row in range(rows):
        run.log({"val/miou": row / rows})
    image = wandb.Image(np.zeros((8, 8, 3), np.uint8), masks={"truth": {"mask_data": np.eye(8, dtype=np.uint8)}})
    run.log({"test/predictions": image, "test/classes": wandb.Table(columns=["class", "iou"], data=[["sky", 0.25], ["road", 0.75]])})
    (folder / "record.txt").write_text("content")
    artifact = wandb.Artifact("record", "run-record", metadata={"seed": 1})
    artifact.add_file(str(folder / "record.txt"))
    run.log_artifact(artifact, aliases=["final"])
    run.finish()


if __name__ == "__main__":
    log_run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
