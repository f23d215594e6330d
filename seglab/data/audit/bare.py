"""Audit a folder of which nothing is known: guess its layout and labels, and say which flags read it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seglab.data.audit.finding import Audited, Finding, number, some
from seglab.data.audit.findings.labels import explanation, stored
from seglab.data.audit.layout import SPLIT, Found, guess
from seglab.data.audit.look import Look
from seglab.data.sources.camvid import CamVid
from seglab.data.sources.dataset import SPLITS
from seglab.data.sources.files import PairedFiles
from seglab.sample import IGNORE

DRIVES = ("0001TP_", "0006R0_", "0016E5_", "Seq05VD_")
"""Beginnings of the names of CamVid's frames."""

MOST_CLASSES = 255

LARGE = 1024
"""Longest side up to which whole images are trained on."""

STRIDE = 32
"""Sides of images must be multiples of this number for most networks."""


@dataclass(frozen=True)
class Bare:
    """A folder whose layout was guessed."""

    root: Path
    found: Found

    @classmethod
    def of(cls, root: Path) -> "Bare":
        """Guess the layout of a folder.

        Raises:
            ValueError: no images and masks with common names are found.
        """
        return cls(root, guess(root))

    @property
    def audited(self) -> Audited:
        """The data set, with all labels that files may hold."""
        names = tuple(str(label) for label in range(MOST_CLASSES))
        splits = {split or "all": pairs for split, pairs in self.found.pairs.items()}
        return Audited(
            {split: PairedFiles(self.root, pairs, names) for split, pairs in splits.items()},
            None,
            {split: [pair.image for pair in pairs] for split, pairs in splits.items()},
            {split: [pair.mask for pair in pairs] for split, pairs in splits.items()},
        )

    def pairing(self) -> list[Finding]:
        """Return findings on files without a partner, and on splits."""
        found = []
        for files, kind, other, pattern in (
            (self.found.without_mask, "image", "mask", self.found.masks),
            (self.found.without_image, "mask", "image", self.found.images),
        ):
            if files:
                found.append(
                    Finding(
                        "error",
                        f"{kind}s without {'an image' if other == 'image' else 'a mask'}",
                        f"{number(len(files), kind)} {'has' if len(files) == 1 else 'have'} no partner {pattern}",
                        f"add the {other}s, or remove the {kind}s",
                        tuple(map(str, files)),
                    )
                )
        if self.found.others:
            found.append(
                Finding(
                    "warning",
                    "files that are left out",
                    f"neither images nor masks by the patterns: {some(list(self.found.others), 8)}",
                    "if they belong to the data, name the patterns of all: --data.source.images, --data.source.masks",
                )
            )
        if self._keeps_folders():
            found.append(
                Finding(
                    "note",
                    "samples in folders",
                    f"the samples lie in {number(self.found.folders, 'folder')}, perhaps those of patients or videos",
                    "the command below never has samples of one folder in two splits, see --data.source.group",
                )
            )
        missing = [split for split in SPLITS if split not in self.found.pairs]
        if missing and "" not in self.found.pairs:
            found.append(
                Finding(
                    "warning",
                    "splits are missing",
                    f"there is no folder of {' and '.join(missing)}; the command below divides the samples at random",
                    "if samples belong together, such as those of a patient or a video, name their group: --data.source.group",
                )
            )
        return found

    def meaning(self, looks: Sequence[Look]) -> list[Finding]:
        """Return a finding on labels that are no plain class indices, which the flags map."""
        labels = stored(looks)
        meaning = explanation(labels) if labels else None
        if meaning is None:
            return []
        return [
            Finding(
                "warning",
                meaning,
                f"the masks hold {some([str(label) for label in sorted(labels)], 24)}, and class indices count from 0; 255 is ignored",
                "map the labels, as the command below does",
            )
        ]

    def loading(self, looks: Sequence[Look]) -> list[str]:
        """Return the flags of loading and of the network that suit the images."""
        images = [look.image for look in looks if look.image is not None]
        sizes = Counter((image.rows, image.columns) for image in images)
        if not sizes:
            return []
        (rows, columns), _ = sizes.most_common(1)[0]
        words = []
        if max(rows, columns) > LARGE:
            words = ["--data.crop", "[512,512]", "--data.window", "[512,512]"]
        elif len(sizes) > 1 or rows % STRIDE or columns % STRIDE:
            size = [max(STRIDE, side // STRIDE * STRIDE) for side in (rows, columns)]
            words = ["--data.size", f"[{size[0]},{size[1]}]"]
        train = [look for look in looks if look.place.split == "train"]
        if len(train or looks) < 12:  # a batch must not be larger than the training split, which may be 70 % of the samples
            words += ["--data.batch_size", "2"]
        channels = max(image.channels for image in images)
        if channels not in (1, 3):
            words += ["--model.network.in_channels", str(channels), "--model.mean", "[0.5]", "--model.std", "[0.25]"]
        return words

    def flags(self, looks: Sequence[Look], table: Path | None) -> list[str]:
        """Return the words that read this folder, as `--data.source ImageMaskFolder --data.source.root D …`.

        Args:
            looks: the samples.
            table: the table of the classes of colours, see `class_rows`; None if masks hold labels.
        """
        if self._is_camvid(looks):
            return ["--data.source", "CamVid", "--data.source.root", str(self.root)]
        return [
            *["--data.source", "ImageMaskFolder", "--data.source.root", str(self.root)],
            *self._pattern_flags(),
            *self._split_flags(),
            *(self._label_flags(looks) if table is None else ["--data.source.classes", str(table)]),
        ]

    def _is_camvid(self, looks: Sequence[Look]) -> bool:
        names = [pair.image.name for pairs in self.found.pairs.values() for pair in pairs]
        in_place = self.found.images.startswith(f"{SPLIT}/images/") and self.found.masks.startswith(f"{SPLIT}/masks/")
        known = all(name.startswith(DRIVES) for name in names) and max(stored(looks), default=0) == 11
        return in_place and known and set(self.found.pairs) == set(SPLITS)

    def _pattern_flags(self) -> list[str]:
        plain = self.found.images.startswith(f"{SPLIT}/images/*.") and self.found.masks.startswith(f"{SPLIT}/masks/*.")
        if plain and all((self.root / split / "images").is_dir() for split in SPLITS):
            return []
        return ["--data.source.images", self.found.images, "--data.source.masks", self.found.masks]

    def _split_flags(self) -> list[str]:
        if set(self.found.pairs) == set(SPLITS):
            return []
        rule = ["--data.source.splits", "RandomSplit"]
        if "test" in self.found.pairs:
            rule += ["--data.source.splits.test_fraction", "0"]
        return [*rule, "--data.source.group", "^[^/]+"] if self._keeps_folders() else rule

    def _keeps_folders(self) -> bool:
        """Return whether the rule keeps the samples of a folder together, as they may be those of one patient."""
        return set(self.found.pairs) != set(SPLITS) and self.found.folders >= len(SPLITS)

    def is_readable(self, looks: Sequence[Look], table: Path | None) -> bool:
        """Return whether `flags` read the folder: every file has a partner; masks hold labels or a table's colours."""
        whole = not self.found.without_mask and not self.found.without_image
        return whole and (table is not None or bool(stored(looks)))

    def num_classes(self, looks: Sequence[Look]) -> int:
        """Return the number of classes of `flags`, at least 2, as a network needs it."""
        if self._is_camvid(looks):
            return len(CamVid.class_names)
        if colours := colours_of(looks):
            return max(2, len(colours))
        labels = self._labels(looks)
        return max(2, len(labels) if explanation(stored(looks)) is not None else max(labels, default=0) + 1)

    def _labels(self, looks: Sequence[Look]) -> list[int]:
        """Return the labels that are classes: all but 255, which is one in masks of two labels, such as 0 and 255."""
        labels = set(stored(looks))
        return sorted(labels if len(labels) == 2 else labels - {IGNORE})

    def _label_flags(self, looks: Sequence[Look]) -> list[str]:
        number_of_classes = ["--data.source.num_classes", str(self.num_classes(looks))]
        if explanation(stored(looks)) is None:
            return number_of_classes
        table = ", ".join(f"{label}: {place}" for place, label in enumerate(self._labels(looks)))
        return [*number_of_classes, "--data.source.labels", f"{{{table}}}"]


def colours_of(looks: Sequence[Look]) -> list[int]:
    """Return the colours of all 8-bit colour masks, 0xRRGGBB, most frequent first; an empty list if there are none."""
    pixels: dict[int, int] = {}
    for look in looks:
        is_coloured = look.mask is not None and look.mask.kind == "colours" and look.mask.bits == 8
        for colour, count in (look.mask.labels if look.mask is not None and is_coloured else {}).items():
            pixels[colour] = pixels.get(colour, 0) + count
    return sorted(pixels, key=lambda colour: (-pixels[colour], colour))


def class_rows(looks: Sequence[Look]) -> str | None:
    """Return a table of the colours of masks, class,r,g,b, whose names are to be replaced.

    Return None if there are fewer than two colours, or too many.
    """
    colours = colours_of(looks)
    if not 2 <= len(colours) <= MOST_CLASSES:
        return None
    rows = [f"class {place},{colour >> 16},{colour >> 8 & 255},{colour & 255}" for place, colour in enumerate(colours)]
    return "\n".join(["class,r,g,b", *rows]) + "\n"
