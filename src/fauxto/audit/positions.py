"""Where in the picture the classes differ: a stamp, a border or a dead pixel that only one of them has."""

from __future__ import annotations

import io
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from PIL import Image, ImageDraw

from fauxto.audit.features import GRID

MIN_EFFECT = 0.25  # in standard deviations of the pixel; and as logarithm of the ratio of the classes' deviations
FALSE_ALARM = 0.001  # of the whole map, by Bonferroni
_SIDE, _GAP, _TITLE = 160, 8, 18
_DEGREE = 4


@dataclass(frozen=True, eq=False)
class PositionMap:
    """What stands out at each place of the grid.

    Attributes:
        mean_real: Float, shape (GRID, GRID, 3).
        mean_fake: Likewise.
        effect: Float, shape (GRID, GRID); how far the classes differ there beyond what changes slowly over the picture: the
            larger of the difference of means in standard deviations, and of half the logarithm of the ratio of variances.
        hits: Bool, shape (GRID, GRID); where that is both large and no chance.
        n_real: Images that were compared.
        n_fake: Likewise.
    """

    mean_real: np.ndarray
    mean_fake: np.ndarray
    effect: np.ndarray
    hits: np.ndarray
    n_real: int
    n_fake: int

    @property
    def n_hits(self) -> int:
        """How many places stand out."""
        return int(self.hits.sum())

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of what stands out, in cells of the grid; right and bottom not included."""
        rows, columns = np.nonzero(self.hits)
        return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def position_map(images: np.ndarray, is_fake: np.ndarray) -> PositionMap:
    """Compare the classes place by place.

    What a picture shows changes slowly over the picture, on average over many; so a smooth surface is fitted to the map of
    differences, robustly, and what is left of it stands out.

    Args:
        images: uint8, shape (n, GRID, GRID, 3).
        is_fake: Bool, shape (n,); both classes.
    """
    real, fake = (images[chosen].astype(np.float32) for chosen in (~is_fake, is_fake))
    mean_real, mean_fake = real.mean(axis=0), fake.mean(axis=0)
    # One grey level of noise: where an image is constant, a ratio would say nothing.
    variance_real, variance_fake = real.var(axis=0) + 1, fake.var(axis=0) + 1
    shift = (mean_fake - mean_real) / np.sqrt((variance_real + variance_fake) / 2)
    ratio = np.log(variance_fake / variance_real) / 2
    left = np.abs(np.dstack([_rest(each) for each in (*np.moveaxis(shift, 2, 0), *np.moveaxis(ratio, 2, 0))]))
    # Of a difference of means; the logarithm of a ratio of deviations has at most as much for pixels, which have no tails.
    error = np.sqrt(1 / len(real) + 1 / len(fake))
    z = NormalDist().inv_cdf(1 - FALSE_ALARM / (2 * left.size))
    effect = left.max(axis=2)
    return PositionMap(mean_real, mean_fake, effect, effect - z * error > MIN_EFFECT, len(real), len(fake))


def _rest(values: np.ndarray) -> np.ndarray:
    """Return what a smooth surface (polynomial of degree 4, Cauchy weights) leaves of a map."""
    x = np.linspace(-1, 1, GRID)
    terms = [np.outer(x**i, x**j).ravel() for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i)]
    design, target = np.stack(terms, axis=1), values.ravel().astype(np.float64)
    rest = target - np.median(target)
    for _ in range(20):
        scale = 2 * np.median(np.abs(rest)) + 1e-9
        weight = 1 / (1 + (rest / scale) ** 2)
        root = np.sqrt(weight)
        solution, *_ = np.linalg.lstsq(design * root[:, None], target * root, rcond=None)
        rest = target - design @ solution
    left: np.ndarray = rest.reshape(values.shape)
    return left


def map_picture(found: PositionMap) -> bytes:
    """Return a PNG with three panels: the mean real image, the mean fake one, and where they differ, hits framed in red."""
    heat = np.clip(found.effect / _darkest(found) * 255, 0, 255).astype(np.uint8)
    panels = [np.clip(mean, 0, 255).astype(np.uint8) for mean in (found.mean_real, found.mean_fake)]
    panels.append(np.repeat(255 - heat[..., None], 3, axis=2))
    sheet = Image.new("RGB", (3 * _SIDE + 4 * _GAP, _SIDE + 2 * _GAP + _TITLE), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (title, panel) in enumerate(zip(("mean of real", "mean of fake", "difference"), panels, strict=True)):
        left = _GAP + number * (_SIDE + _GAP)
        draw.text((left, _GAP // 2), title, fill="black")
        sheet.paste(Image.fromarray(panel).resize((_SIDE, _SIDE), Image.Resampling.NEAREST), (left, _GAP + _TITLE))
    if found.n_hits:
        times = _SIDE // GRID
        box = [times * end for end in found.box]
        left, top = 3 * _GAP + 2 * _SIDE, _GAP + _TITLE
        draw.rectangle((left + box[0] - 1, top + box[1] - 1, left + box[2], top + box[3]), outline="#c43b52", width=2)
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def map_caption(found: PositionMap, where: str) -> str:
    """Return how ``map_picture`` was made.

    Args:
        found: The map.
        where: What was compared, such as "the picture".
    """
    return (
        f"Left and middle: the mean of {found.n_real:,} real and of {found.n_fake:,} fake images, {where} on a grid of {GRID} x "
        f"{GRID}. Right: how far the classes differ at each place beyond a smooth surface, in standard deviations (or as the "
        f"logarithm of the ratio of their spreads, if that is larger): white is 0, black {_darkest(found):.2f}; the red frame "
        "holds every place that stands out."
    )


def _darkest(found: PositionMap) -> float:
    return max(1.0, float(found.effect.max()))
