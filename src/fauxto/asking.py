"""Network: what a detector's network says of small images, as squares, and of large ones, over tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from fauxto.errors import UsageError
from fauxto.perturb import perturbed
from fauxto.preprocess import PreprocessSpec, fit_square, normalised, to_network_input
from fauxto.session import in_batches
from fauxto.tiles import TileRule, aggregate

_PIXELS_AT_ONCE = 2**22  # a large network's activations, and a stranger's card, must not fill the memory
_TILED_AT_ONCE = 2**18  # pixels of tiles: as many as in a batch of small images, which the cache holds


@dataclass(frozen=True)
class Network:
    """A network and how it is asked.

    Attributes:
        ask: Takes float32 (n, 3, h, w) and the names of outputs, "logit" or "evidence"; returns these.
        ask_of_tiles: The same for tiles, of which another network may answer.
        spec: How pixels become its input.
        tiles: How large images are answered; None where all of them are shrunk.
        certain_logit: Further from 0 than this, the mirror image of a square is not asked about.
        most_at_once: Squares that the network can see at once; 0 is any number.
    """

    ask: Callable[..., list[np.ndarray]]
    ask_of_tiles: Callable[..., list[np.ndarray]]
    spec: PreprocessSpec
    tiles: TileRule | None
    certain_logit: float
    most_at_once: int = 0

    def at_once(self, batch_size: int) -> int:
        """Return how many squares it may see at once."""
        return max(1, min(batch_size, self.most_at_once or batch_size, _PIXELS_AT_ONCE // self.spec.size**2))

    def is_tiled(self, height: int, width: int) -> bool:
        """As ``Detector.is_tiled``."""
        return self.tiles is not None and min(height, width) >= self.tiles.side and max(height, width) > 2 * self.spec.size

    def logits(self, images: Iterable[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
        """Yield the logits, float32 (n,), of one batch of images after the other; over tiles each is asked about by itself."""
        for batch in in_batches(map(self._seen, images), self.at_once(batch_size)):
            squares = [item for item in batch if isinstance(item, np.ndarray)]
            found = iter(self.of_squares(np.stack(squares), "logit") if squares else ())
            yield np.array([next(found) if isinstance(item, np.ndarray) else item for item in batch], np.float32)

    def evidence(self, image: np.ndarray) -> np.ndarray:
        """As ``Detector.evidence``."""
        if self.is_tiled(*image.shape[:2]):
            return self.tile_logits(image)
        return np.asarray(self.of_squares(fit_square(image, size=self.spec.size, fit=self.spec.fit)[None], "evidence")[0])

    def of_squares(self, squares: np.ndarray, output: str) -> np.ndarray:
        """Return an output for uint8 (n, size, size, 3): recoded and, where not certain, mirrored, as the spec says."""
        images = to_network_input(squares, self.spec)
        logits, found = self.ask(images, "logit", output)
        near = np.flatnonzero(np.abs(logits) < self.certain_logit) if self.spec.mirrored else np.zeros(0, int)
        if near.size:
            (other,) = self.ask(np.ascontiguousarray(images[near, ..., ::-1]), output)
            found = found.copy()
            found[near] = (found[near] + (other if output == "logit" else other[..., ::-1])) / 2
        return found

    def tile_logits(self, image: np.ndarray, *, saved_as: str = "") -> np.ndarray:
        """Return what it says of each of an image's tiles: float32, shape (rows, columns).

        Args:
            image: uint8, shape (h, w, 3), of any size into which a tile fits.
            saved_as: A perturbation through which each tile goes before; "" for none.

        Raises:
            UsageError: There are no tiles, or none fits into the image.
        """
        if self.tiles is None or min(image.shape[:2]) < self.tiles.side:
            raise UsageError("this image is not answered over tiles: give one, and a detector, with which it would be")
        tiles = self.tiles.cut(image)
        flat = tiles.reshape(-1, *tiles.shape[2:])
        flat = perturbed(flat, saved_as) if saved_as else flat
        n = max(1, _TILED_AT_ONCE // self.tiles.side**2)
        parts = [self.ask_of_tiles(normalised(flat[at : at + n], self.spec), "logit")[0] for at in range(0, len(flat), n)]
        return np.concatenate(parts).astype(np.float32).reshape(tiles.shape[:2])

    def over_tiles(self, image: np.ndarray, *, saved_as: str = "") -> np.float32:
        """Return the logit of an image that is answered over tiles; as ``tile_logits``."""
        assert self.tiles is not None
        logit: np.float32 = np.float32(aggregate(self.tile_logits(image, saved_as=saved_as), self.tiles.rule))
        return logit

    def _seen(self, image: np.ndarray) -> np.ndarray | np.float32:
        """Return the square of an image, or at once the logit of one that is answered over tiles: few tiles are in memory."""
        return (
            self.over_tiles(image)
            if self.is_tiled(*image.shape[:2])
            else fit_square(image, size=self.spec.size, fit=self.spec.fit)
        )
