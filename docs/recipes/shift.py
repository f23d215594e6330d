"""A corruption of one's own: white fog, denser with each severity.

The image is float32 in [0, 1], and is clipped afterwards.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seglab import Corruption


@dataclass(frozen=True)
class Fog(Corruption):
    def degrade(self, image: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
        density = np.float32(0.15 * self.severity)
        return (1 - density) * image + density
