"""What may answer for the tiles of large images, each learned without some sources, and how two of them become one answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from frozen_features import Key, Sources
from rich.console import Console
from rich.progress import track

from fauxto.bundled import ASSETS, DEFAULT, find
from fauxto.models.general import HIGH, MEDIAN, TraceNet
from fauxto.models.large import LargeNet
from fauxto.networks import load_network
from fauxto.preprocess import PreprocessSpec, normalised
from fauxto.tiles import TileRule

SIDE, MOST = 128, 64
SPEC = PreprocessSpec(SIDE)
SELDOM = (2 * MEDIAN, MEDIAN)  # see ``either``
ENERGIES, RESIDUAL, TRACES, KNOWN = "block energies", "statistics of the residual", "finest traces", "CIFAKE's generator"

Head = tuple[np.ndarray, np.ndarray]  # weights and where the score is 0
Moments = dict[Key, tuple[np.ndarray, np.ndarray]]  # of a source: mean and covariance
Pair = frozenset[Key]  # sources that are left out


@dataclass(frozen=True, eq=False)
class Tiles:
    """What was seen of images' tiles.

    Attributes:
        image: Which image each is of: int, shape (n,), ascending.
        seen: By name, shape (n, numbers); a network's logit is one number.
        sources: Of the images.
    """

    image: np.ndarray
    seen: dict[str, np.ndarray]
    sources: Sources

    def of(self, key: Key) -> np.ndarray:
        """Return which tiles are of a source's images."""
        return np.flatnonzero(np.isin(self.image, self.sources.images(key)))

    def by_image(self, scores: np.ndarray) -> list[np.ndarray]:
        """Return each image's tiles' scores."""
        return np.split(scores, np.flatnonzero(np.diff(self.image)) + 1)


View = Callable[[torch.Tensor], torch.Tensor]  # tiles (n, 3, side, side) in [-1, 1] -> (n,) or (n, numbers)
Views = dict[str, View]
Expert = Callable[[Pair, Tiles], np.ndarray]  # a score for each tile, learned without these sources


def looked_at(images: Iterable[np.ndarray], sources: Sources, views: Views) -> Tiles:
    """Return what was seen of images' tiles.

    Args:
        images: uint8, shape (h, w, 3) each.
        sources: Of these.
        views: What looks at them, by name.
    """
    rule = TileRule(SIDE, MOST)
    image, found = [], []
    for at, each in enumerate(track(images, total=len(sources.name), description="tiles", console=Console(stderr=True))):
        cut = rule.cut(each).reshape(-1, SIDE, SIDE, 3)
        image.append(np.full(len(cut), at))
        tensor = torch.from_numpy(normalised(cut, SPEC))
        with torch.inference_mode():
            found.append({name: view(tensor).numpy().reshape(len(cut), -1) for name, view in views.items()})
    seen = {name: np.concatenate([one[name] for one in found]).astype(np.float64) for name in views}
    return Tiles(np.concatenate(image), seen, sources)


def of_traces(traces: TraceNet) -> View:
    """Return what asks a network for the finest traces at half the size, as the shipped one does."""
    return LargeNet(traces).of_traces


def of_known() -> View:
    """Return what asks the bundled ``cifake`` at half the size."""
    known = load_network(ASSETS / DEFAULT)[0].eval()

    def view(tiles: torch.Tensor) -> torch.Tensor:
        off_grid = torch.zeros(len(tiles), dtype=torch.bool)  # its grid is that of small images
        halves = torch.nn.functional.avg_pool2d(tiles, 2)
        return known._evidence(halves, off_grid).mean(dim=(1, 2))  # type: ignore[operator, no-any-return]

    return view


def traces_of(detector: str | Path) -> TraceNet:
    """Return the network for the finest traces that a detector trained with the preset ``general`` holds."""
    traces = getattr(load_network(find(detector))[0], "traces", None)
    if not isinstance(traces, TraceNet):
        raise SystemExit(f"expected a detector of the preset general, which looks for the finest traces, got {detector}")
    return traces.eval()


def column(name: str) -> Expert:
    """Return the expert whose score is a number that was seen; it learned elsewhere, whatever is left out here."""
    return lambda _, tiles: tiles.seen[name][:, 0]


def discriminant(name: str, taught: Tiles, *, ridge: float, left_out: Callable[[Pair], Pair] = lambda pair: pair) -> Expert:
    """Return the linear discriminant on what was seen of the tiles that teach it.

    Args:
        name: What was seen.
        taught: What teaches.
        ridge: Added to each number's variance, as a multiple of it.
        left_out: Which of the teaching tiles' sources a pair leaves out.
    """
    moments = moments_of({key: taught.seen[name][taught.of(key)] for key in taught.sources.keys()})  # noqa: SIM118 - a method of ours

    @cache
    def head(pair: Pair) -> Head:
        real, fake = (taught.sources.weights(left_out(pair), is_fake=is_fake) for is_fake in (False, True))
        return fisher(moments, real, fake, ridge=ridge)

    def scores(pair: Pair, tiles: Tiles) -> np.ndarray:
        weights, zero = head(pair)
        return (tiles.seen[name] - zero) @ weights  # type: ignore[no-any-return]

    return scores


def moments_of(values: dict[Key, np.ndarray]) -> Moments:
    """Return each source's mean and covariance."""
    return {key: (own.mean(axis=0), np.cov(own.T, bias=True)) for key, own in values.items()}


def fisher(moments: Moments, real: dict[Key, float], fake: dict[Key, float], *, ridge: float) -> Head:
    """Return Fisher's discriminant (1936) with a spread of 1 within sources; each source of a class has its share.

    Numbers count alike before the ridge: each is divided by its spread within these sources.
    """
    means = [sum((share * moments[key][0] for key, share in one.items()), np.zeros(1)) for one in (real, fake)]
    within = sum((share / 2 * moments[key][1] for one in (real, fake) for key, share in one.items()), np.zeros(1))
    scale = np.sqrt(np.diag(within)) + 1e-3
    scaled = within / np.outer(scale, scale)
    direction = np.linalg.solve(scaled + ridge * np.eye(len(scaled)), (means[1] - means[0]) / scale)
    return direction / scale / np.sqrt(direction @ scaled @ direction), (means[0] + means[1]) / 2


def together(*experts: Expert, photographs: Tiles) -> Expert:
    """Return the mean of experts on one scale, which those of the photographs' sources set that are not left out."""

    def scores(pair: Pair, tiles: Tiles) -> np.ndarray:
        found: np.ndarray = np.mean([levelled(each, pair, tiles, photographs) for each in experts], axis=0)
        return found

    return scores


def either(often: Expert, seldom: Expert, *, photographs: Tiles) -> Expert:
    """Return log(exp(first) + exp(second)); the second counts only where it is surer of a fake than of 95 % of photographs.

    Its 95 % quantile among photographs lies at the first one's median, twice as far from its own median as the first one's:
    else it would hide how much an image looks like a photograph to the first.

    Args:
        often: Expert.
        seldom: Likewise.
        photographs: As for ``together``.
    """

    def scores(pair: Pair, tiles: Tiles) -> np.ndarray:
        found: np.ndarray = np.logaddexp(
            levelled(often, pair, tiles, photographs), levelled(seldom, pair, tiles, photographs, like=SELDOM)
        )
        return found

    return scores


def levelled(
    expert: Expert, pair: Pair, tiles: Tiles, photographs: Tiles, *, like: tuple[float, float] = (MEDIAN, HIGH)
) -> np.ndarray:
    """Return an expert's scores on the scale on which photographs have this median and this 95 % quantile."""
    times, added = level_of(expert(pair, photographs), pair, photographs, like=like)
    return times * expert(pair, tiles) + added


def level_of(scores: np.ndarray, pair: Pair, tiles: Tiles, *, like: tuple[float, float] = (MEDIAN, HIGH)) -> tuple[float, float]:
    """Return what scores are multiplied by, and what is added, for photographs to have this median and this 95 % quantile.

    Sources of photographs weigh the same.
    """
    kept = [tiles.of(key) for key in tiles.sources.measured(is_fake=False) if key not in pair]
    if not kept:
        raise SystemExit("expected a source of photographs besides those that are left out: give data with more sources")
    weights = np.concatenate([np.full(len(each), 1 / len(each) / len(kept)) for each in kept])
    values = scores[np.concatenate(kept)]
    order = np.argsort(values)
    median, high = values[order][np.searchsorted(np.cumsum(weights[order]), (0.5, 0.95))]
    times = (like[1] - like[0]) / max(float(high - median), 1e-3)
    return float(times), float(like[0] - times * median)
