"""ADE20K scene parsing (SceneParse150): 22 210 scenes of any kind, of any size, with 150 classes.

B. Zhou et al., "Scene Parsing through ADE20K Dataset", CVPR 2017. Names of the classes: `objectInfo150.txt` of the data
set; colours: `data/color150.mat` of https://github.com/CSAILVision/semantic-segmentation-pytorch.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seglab.data.sources.dataset import SPLITS, SegmentationDataset, Split
from seglab.data.sources.folder import pair_by_stem
from seglab.data.sources.official import RGBFiles, colours, folder_of, held_out, require_folders
from seglab.data.sources.source import SegmentationSource
from seglab.sample import IGNORE

LAYOUT = (
    "ADEChallengeData2016 with images/{training,validation}/*.jpg and annotations/{training,validation}/*.png: `seglab download ADE20K --root "
    "D` gets it from http://sceneparsing.csail.mit.edu"
)
EVERY = 10
"""One in so many images of the official training set is held out for validation."""
NAMES = (
    "wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door, table, "
    "mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field, armchair, seat, fence, "
    "desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard, chest of drawers, counter, sand, sink, "
    "skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool table, pillow, screen door, stairway, "
    "river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill, bench, countertop, stove, palm, kitchen island, "
    "computer, swivel chair, boat, bar, arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, "
    "booth, television receiver, airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, "
    "stage, van, ship, fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, tent, "
    "bag, minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen, "
    "blanket, sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate, monitor, bulletin board, "
    "shower, radiator, glass, clock, flag"
)
"""The 150 classes in the order of their labels, each by the first of its names in objectInfo150.txt."""
COLOURS = (
    "787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d 787846 08ff33 ff0652 8fff8c ccff04 "
    "ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0 0907e6 dcdcdc ff095c 7009ff 08ffd6 07ffe0 ffb806 0aff47 ff290a 07ffff "
    "e0ff08 6608ff ff3d06 ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff eb0cff a09614 00a3ff 8c8c8c fa0a0f 14ff00 1fff00 ff1f00 ffe000 "
    "99ff00 0000ff ff4700 00ebff 00adff 1f00ff 0bc8c8 ff5200 00fff5 003dff 00ff70 00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 "
    "0052ff 00ff29 00ffad 0a00ff adff00 00ff99 ff5c00 ff00ff ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2 "
    "00ff52 000aff 0070ff 3300ff 00c2ff 007aff 00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00 08b8aa 8500ff 00ff5c b800ff "
    "ff001f 00b8ff 00d6ff ff0070 5cff00 00e0ff 70e0ff 46b8a0 a300ff 9900ff 47ff00 ff00a3 ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff "
    "ff007a fff500 0abed4 d6ff00 00ccff 1400ff ffff00 0099ff 0029ff 00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8 005cff "
    "b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff"
)
"""Colour of each class, as six hexadecimal digits, of `color150.mat`."""
TABLE = {0: IGNORE} | {label: label - 1 for label in range(1, 151)}
"""Class of each label in the files; 0 is "other", and is ignored."""


@dataclass(frozen=True)
class ADE20K(SegmentationSource):
    """ADE20K with the 150 classes of its scene parsing challenge; label 0 (other objects) is ignored.

    The official test masks are not public, so the official validation set (2000 images) is the test split. Of the
    official training set (20 210 images), every tenth name is held out for validation (2021), and the others train (18
    189).

    Raises:
        ValueError: folders or files are missing.
    """

    root: Path
    """folder with ADEChallengeData2016, or this folder itself."""

    class_names = tuple(NAMES.split(", "))

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))  # a string will do
        for split in SPLITS:
            self.split(split)

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """(150,3) official colours."""
        return colours(COLOURS)

    def split(self, name: Split) -> SegmentationDataset:
        """Return the images of one split, sorted by name."""
        base = folder_of(self.root, ("ADEChallengeData2016",), "annotations", LAYOUT)
        folder = "validation" if name == "test" else "training"
        images, masks = base / "images" / folder, base / "annotations" / folder
        require_folders([images, masks], LAYOUT)
        pairs = pair_by_stem(images, masks, LAYOUT)
        if name != "test":
            pairs = held_out(pairs, EVERY)[0 if name == "train" else 1]
        return RGBFiles(base, pairs, self.class_names, table=TABLE)
