"""The folder of a fit or an evaluation: `version_<n>`, made by one process alone."""

from pathlib import Path


def new_folder(root: Path) -> Path:
    """Make and return the first folder `version_<n>` in `root` that does not exist.

    Two processes never get the same one.

    Raises:
        OSError: the folder cannot be made.
    """
    taken = [int(path.name.removeprefix("version_")) for path in root.glob("version_*") if path.name.removeprefix("version_").isdecimal()]
    number = max(taken, default=-1) + 1
    while True:
        root.mkdir(parents=True, exist_ok=True)
        folder = root / f"version_{number}"
        try:
            folder.mkdir()
        except FileExistsError:  # another process was faster
            number += 1
        except FileNotFoundError:  # another process was refused, and has deleted `root`, which was empty
            continue
        else:
            return folder
