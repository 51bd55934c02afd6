"""Detector: load a detector folder, ask it about images; ONNX Runtime, no PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fauxto.asking import Network
from fauxto.bundled import find
from fauxto.calibration import is_possible, log_odds, to_p_fake
from fauxto.checkpoint import MODEL, TILES_MODEL, models_of, read_card
from fauxto.errors import DetectorError, ImageError
from fauxto.images import ImageLike, to_pixels
from fauxto.judging import CERTAIN, judged
from fauxto.perturb import perturbed
from fauxto.preprocess import PreprocessSpec, fit_square
from fauxto.scope import Scope
from fauxto.session import ask, in_batches, open_session
from fauxto.tiles import TileRule, tile_card
from fauxto.verdicts import VerdictRule, points_of
from fauxto.vocabulary import Prediction

BATCH_SIZE = 256


@dataclass(frozen=True)
class Detector:
    """A trained detector, ready to answer.

    Attributes:
        folder: Where it lies.
        card: What it was trained on, its scope, thresholds and metrics.
        operating_point: Name of the card's operating point that decides; "" for the card's own threshold and unsure range.
        n_threads: How many cores one answer may use; 0 is all of them.

    Example:
        >>> from fauxto import Detector
        >>> Detector.load("no/such/folder")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        fauxto.errors.DetectorError: there is no detector in no/such/folder: ...
    """

    folder: Path
    card: dict[str, Any]
    operating_point: str = ""
    n_threads: int = 0

    @staticmethod
    def load(where: str | Path | None = None) -> Detector:
        """Open a detector.

        Args:
            where: A detector folder, a run folder that holds one, or the name of a bundled one; None is the bundled default.

        Raises:
            DetectorError: Nothing is there, or the card is of another version or makes no sense. A wrong checksum of the model is
                told by the first answer, which is when the model is read.
        """
        folder = find(where)
        detector = Detector(folder, read_card(folder))
        detector._check_card()
        return detector

    @cached_property
    def spec(self) -> PreprocessSpec:
        """How pixels become the network's input."""
        return PreprocessSpec.from_dict(self.card.get("preprocessing", {}))

    def at(self, name: str) -> Detector:
        """Return this detector at one of its card's operating points, such as "fpr1": 1 % false alarms on validation.

        The point's threshold decides, and no probability is "unsure"; what is out of scope still is.

        Raises:
            UsageError: The card has no such operating point.
        """
        other = replace(self, operating_point=name)
        for one in (other, other.over_tiles):
            VerdictRule.from_card(one.card, name)
        for name in {"_session", "_tiles_session"} & set(self.__dict__):  # these models were read and verified before
            other.__dict__[name] = self.__dict__[name]
        return other

    @cached_property
    def rule(self) -> VerdictRule:
        """How a probability becomes a verdict."""
        return VerdictRule.from_card(self.card, self.operating_point)

    @cached_property
    def scope(self) -> Scope:
        """For which images there is an answer."""
        return Scope.from_card(self.card["scope"], size=self.spec.size)

    @cached_property
    def tiles(self) -> TileRule | None:
        """How images are answered over tiles; None where none is."""
        return TileRule.from_card(self.card["tiles"]) if "tiles" in self.card else None

    @cached_property
    def over_tiles(self) -> Detector:
        """This detector as it judges images that are answered over tiles: by the rules that its card has for them."""
        return replace(self, card=tile_card(self.card)) if self.tiles else self

    def is_tiled(self, height: int, width: int) -> bool:
        """Return whether an image of this size is answered over tiles: too large to be shrunk, and a tile fits into it."""
        return self._network.is_tiled(height, width)

    @property
    def threshold(self) -> float:
        """An image is called fake when ``p_fake >= threshold``, unless it is unsure."""
        return self.rule.threshold

    @cached_property
    def temperature(self) -> float:
        """Logits are divided by it before they become probabilities."""
        return float(self.card["calibration"]["temperature"])

    @cached_property
    def bias(self) -> float:
        """Added to the log-odds of a logit; 0 unless the detector was calibrated anew (``fauxto calibrate``)."""
        return float(self.card["calibration"].get("bias", 0.0))

    @cached_property
    def certain_logit(self) -> float:
        """Further from 0 than this, the mirror image is not asked about; it stays when a detector is calibrated anew."""
        return float(self.card["calibration"].get("certain_logit", self.temperature * float(log_odds(CERTAIN))))

    def predict(self, images: Iterable[ImageLike], *, logits: Iterable[float] | None = None) -> list[Prediction]:
        """Answer for every image.

        Args:
            images: Paths, file contents, Pillow images or uint8 arrays (h, w, 3) in RGB.
            logits: As for ``predict_each``.

        Raises:
            ImageError: One of them cannot be read; ``predict_each`` goes on with the next instead.
        """
        predictions = []
        for answer in self.predict_each(images, logits=logits):
            if isinstance(answer, ImageError):
                raise answer
            predictions.append(answer)
        return predictions

    def predict_each(
        self, images: Iterable[ImageLike], *, batch_size: int = BATCH_SIZE, logits: Iterable[float] | None = None
    ) -> Iterator[Prediction | ImageError]:
        """Yield, in order, an answer for every image or the error that says why there is none.

        Args:
            images: As for ``predict``; read as they are needed, so that a folder of any size fits.
            batch_size: Images that the network sees at once; tiles come one image after the other.
            logits: One per image where they are known from before: then only re-encoded images are asked about.
        """
        known: Iterable[float | None] = repeat(None) if logits is None else logits
        prepared = (self._prepared(image, logit) for image, logit in zip(images, known, strict=logits is not None))
        at_once = self._network.at_once(batch_size)
        for batch in in_batches(prepared, at_once, is_ready=lambda item: isinstance(item, Prediction)):
            yield from self._answers(batch)

    def logits(
        self, images: Iterable[np.ndarray], *, batch_size: int = BATCH_SIZE, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Return the network's raw answers.

        Args:
            images: uint8, shape (h, w, 3) each.
            batch_size: Images that the network sees at once.
            progress: Called with the number of images answered so far.

        Returns:
            float32, shape (n,).
        """
        answers, n_done = [np.zeros(0, np.float32)], 0
        for found in self._network.logits(images, batch_size):
            answers.append(found)
            n_done += len(found)
            if progress:
                progress(n_done)
        return np.concatenate(answers)

    def p_fake(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities for logits: float64, same shape."""
        return to_p_fake(logits, temperature=self.temperature, bias=self.bias)

    def evidence(self, image: ImageLike) -> np.ndarray:
        """Return the map of local evidence behind the logit: float32, shape (h, w); its mean is the logit.

        Of an image that is answered over tiles it holds the tiles' logits; the rule on the card makes one of them, "mean" their
        mean.

        Raises:
            ImageError: The image cannot be read.
        """
        return self._network.evidence(to_pixels(image))

    def tile_logits(self, image: np.ndarray, *, saved_as: str = "") -> np.ndarray:
        """Return what the network says of each of an image's tiles, as ``Network.tile_logits``: float32, shape (rows, columns).

        Tiles are neither recoded nor mirrored, whatever the card says of small images: their pixels are the image's own, and
        that there are many of them does what the mirror image does.
        """
        return self._network.tile_logits(image, saved_as=saved_as)

    def _judged_over_tiles(self, pixels: np.ndarray, logit: float | None) -> Prediction:
        """Judge one image; where its answer could turn, its tiles are re-encoded and asked about once more."""
        rules = self.over_tiles
        logits = np.array([self._network.over_tiles(pixels) if logit is None else logit], np.float32)

        def again(name: str, asked: list[int]) -> np.ndarray:
            return rules.p_fake(np.array([self._network.over_tiles(pixels, saved_as=name)]))

        unfit = [rules.scope.size_reason(*pixels.shape[:2])]
        return judged(rules.rule, rules.scope, logits, rules.p_fake(logits), unfit, again)[0]

    def _judged(self, found: list[_Prepared]) -> list[Prediction]:
        squares = np.array([item.square for item in found])
        if all(item.logit is None for item in found):
            logits = self.logits(squares)
        else:
            logits = np.array([item.logit for item in found], np.float32)

        def again(name: str, asked: list[int]) -> np.ndarray:
            return self.p_fake(self.logits(perturbed(squares[asked], name)))

        sizes, unfamiliar = (item.size for item in found), self.scope.unfamiliar_reasons(squares)
        unfit = [self.scope.size_reason(*size) or then for size, then in zip(sizes, unfamiliar, strict=True)]
        return judged(self.rule, self.scope, logits, self.p_fake(logits), unfit, again)

    def _prepared(self, image: ImageLike, logit: float | None) -> _Prepared | Prediction | ImageError:
        """Return what waits for its batch, or at once the answer for an image over tiles, so that few tiles are in memory."""
        try:
            pixels = to_pixels(image)
        except ImageError as error:
            return error
        if self.is_tiled(*pixels.shape[:2]):
            return self._judged_over_tiles(pixels, logit)
        return _Prepared(fit_square(pixels, size=self.spec.size, fit=self.spec.fit), pixels.shape[:2], logit)

    def _answers(self, batch: list[_Prepared | Prediction | ImageError]) -> Iterator[Prediction | ImageError]:
        found = [item for item in batch if isinstance(item, _Prepared)]
        answers = iter(self._judged(found) if found else [])
        for item in batch:
            yield next(answers) if isinstance(item, _Prepared) else item

    @cached_property
    def _network(self) -> Network:
        at_once = int(self.card.get("model", {}).get("at_once", 0))
        return Network(self._ask, self._ask_of_tiles, self.spec, self.tiles, self.certain_logit, at_once)

    def _ask(self, images: np.ndarray, *outputs: str) -> list[np.ndarray]:
        return ask(self._session, images, outputs, where=self.folder / MODEL)

    def _ask_of_tiles(self, images: np.ndarray, *outputs: str) -> list[np.ndarray]:
        *others, name = models_of(self.card)
        return ask(self._tiles_session, images, outputs, where=self.folder / name) if others else self._ask(images, *outputs)

    @cached_property
    def _session(self) -> Any:
        return open_session(self.folder, self.card, n_threads=self.n_threads)

    @cached_property
    def _tiles_session(self) -> Any:
        return open_session(self.folder, self.card, name=TILES_MODEL, n_threads=self.n_threads)

    def _check_card(self) -> None:
        try:
            is_sound = (
                self._has_sound_rules()
                and self.over_tiles._has_sound_rules()
                and self.spec.size > 0
                and isinstance(self.card["name"], str)
                and all(isinstance(self.card[key], dict) for key in ("trained_on", "model"))
                and int(self.card["model"].get("at_once", 1)) > 0
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DetectorError(f"the card in {self.folder} lacks a value ({error!r}): export the detector again") from error
        if not is_sound:
            raise DetectorError(f"the card in {self.folder} holds an impossible value: export the detector again")
        if missing := [name for name in models_of(self.card) if not (self.folder / name).is_file()]:
            raise DetectorError(f"{self.folder / missing[0]} is missing: train or copy the detector again")

    def _has_sound_rules(self) -> bool:
        self.rule, self.scope, points_of(self.card)  # reading them is the check
        return is_possible(self.card["calibration"]) and 0 <= self.certain_logit < math.inf


class _Prepared(NamedTuple):
    square: np.ndarray
    size: tuple[int, int]
    logit: float | None
