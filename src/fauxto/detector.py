"""Detector: load a detector folder, ask it about images; ONNX Runtime, no PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from fauxto.calibration import is_possible, log_odds, to_p_fake
from fauxto.checkpoint import CARD, MODEL, read_card
from fauxto.errors import DetectorError, ImageError
from fauxto.images import ImageLike, to_pixels
from fauxto.perturb import perturbed
from fauxto.preprocess import PreprocessSpec, fit_square, to_network_input
from fauxto.scope import Scope
from fauxto.session import ask, in_batches, open_session
from fauxto.verdicts import VerdictRule, points_of
from fauxto.vocabulary import Kind, Prediction, Reason, Verdict

BATCH_SIZE = 256
DEFAULT = "cifake"  # the bundled detector that is used when none is named
# As far as this from the threshold, in log-odds from one half, re-encoding turns no verdict round: nothing is gained by asking
# (docs/LOG.md).
CERTAIN = 0.99
_PIXELS_AT_ONCE = 2**22  # a large network's activations, and a stranger's card, must not fill the memory
ASSETS = Path(str(resources.files("fauxto"))) / "assets"


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
        folder = _find(where)
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
        VerdictRule.from_card(self.card, name)
        other = replace(self, operating_point=name)
        if "_session" in self.__dict__:  # the model was read and verified before
            other.__dict__["_session"] = self._session
        return other

    @cached_property
    def rule(self) -> VerdictRule:
        """How a probability becomes a verdict."""
        return VerdictRule.from_card(self.card, self.operating_point)

    @cached_property
    def scope(self) -> Scope:
        """For which images there is an answer."""
        return Scope.from_card(self.card["scope"], size=self.spec.size)

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

    def predict(self, images: Iterable[ImageLike]) -> list[Prediction]:
        """Answer for every image.

        Args:
            images: Paths, file contents, Pillow images or uint8 arrays (h, w, 3) in RGB.

        Raises:
            ImageError: One of them cannot be read; ``predict_each`` goes on with the next instead.
        """
        predictions = []
        for answer in self.predict_each(images):
            if isinstance(answer, ImageError):
                raise answer
            predictions.append(answer)
        return predictions

    def predict_each(self, images: Iterable[ImageLike], *, batch_size: int = BATCH_SIZE) -> Iterator[Prediction | ImageError]:
        """Yield, in order, an answer for every image or the error that says why there is none.

        Args:
            images: As for ``predict``; read as they are needed, so that a folder of any size fits.
            batch_size: Images that the network sees at once.
        """
        for batch in in_batches((self._prepared(image) for image in images), self._at_once(batch_size)):
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
        squares = (fit_square(image, size=self.spec.size, fit=self.spec.fit) for image in images)
        for batch in in_batches(squares, self._at_once(batch_size)):
            answers.append(self._run(np.stack(batch), "logit"))
            n_done += len(batch)
            if progress:
                progress(n_done)
        return np.concatenate(answers)

    def p_fake(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities for logits: float64, same shape."""
        return to_p_fake(logits, temperature=self.temperature, bias=self.bias)

    def evidence(self, image: ImageLike) -> np.ndarray:
        """Return the map of local evidence behind the logit: float32, shape (h, w); its mean is the logit.

        Raises:
            ImageError: The image cannot be read.
        """
        pixels = fit_square(to_pixels(image), size=self.spec.size, fit=self.spec.fit)
        return np.asarray(self._run(pixels[None], "evidence")[0])

    def judged(self, squares: np.ndarray, logits: np.ndarray, sizes: Sequence[tuple[int, int]]) -> list[Prediction]:
        """Return the predictions for images whose logits are known.

        Args:
            squares: uint8, shape (n, size, size, 3), what the network saw.
            logits: Float, shape (n,), what it said.
            sizes: Height and width of each image before it was made a square.
        """
        p_fake = self.p_fake(logits)
        verdicts = self.rule.verdicts(p_fake)
        reasons = self._reasons(squares, sizes, verdicts, p_fake)
        return [
            Prediction(p, logit, Verdict.UNSURE.value, reason.text, reason.kind.value)
            if reason
            else Prediction(p, logit, verdict)
            for p, logit, verdict, reason in zip(p_fake.tolist(), logits.tolist(), verdicts, reasons, strict=True)
        ]

    def _reasons(
        self, squares: np.ndarray, sizes: Sequence[tuple[int, int]], verdicts: list[str], p_fake: np.ndarray
    ) -> list[Reason | None]:
        """Return why each image is unsure, or None; the first of the reasons counts."""
        by_size = [self.scope.size_reason(*size) for size in sizes]
        reasons = [first or then for first, then in zip(by_size, self.scope.unfamiliar_reasons(squares), strict=True)]
        self._add_flips(reasons, squares, verdicts, p_fake)
        by_rule = (self.rule.unsure_reason if verdict == Verdict.UNSURE else None for verdict in verdicts)
        return [first or then for first, then in zip(reasons, by_rule, strict=True)]

    def _add_flips(self, reasons: list[Reason | None], squares: np.ndarray, verdicts: list[str], p_fake: np.ndarray) -> None:
        """Ask again, about the images re-encoded as the card names it, where the answer is fake or real and could turn round."""
        could_turn = np.abs(log_odds(p_fake) - log_odds(self.threshold)) < log_odds(CERTAIN)
        for name in self.scope.stable_under:
            asked = [at for at, reason in enumerate(reasons) if could_turn[at] and not reason and verdicts[at] != Verdict.UNSURE]
            if not asked:
                return
            again = self.rule.verdicts(self.p_fake(self.logits(perturbed(squares[asked], name))))
            for at, verdict in zip(asked, again, strict=True):
                if verdict not in (verdicts[at], Verdict.UNSURE):  # from sure to unsure is no contradiction
                    text = f"the verdict changes from {verdicts[at]} to {verdict} when the image is saved again as {name}"
                    reasons[at] = Reason(Kind.UNSTABLE, text)

    def _at_once(self, batch_size: int) -> int:
        most = min(batch_size, int(self.card.get("model", {}).get("at_once", batch_size)))
        return max(1, min(most, _PIXELS_AT_ONCE // self.spec.size**2))

    def _prepared(self, image: ImageLike) -> _Prepared | ImageError:
        try:
            pixels = to_pixels(image)
        except ImageError as error:
            return error
        return _Prepared(fit_square(pixels, size=self.spec.size, fit=self.spec.fit), pixels.shape[:2])

    def _answers(self, batch: list[_Prepared | ImageError]) -> Iterator[Prediction | ImageError]:
        found = [item for item in batch if isinstance(item, _Prepared)]
        squares = np.array([item.square for item in found])
        answers = iter(self.judged(squares, self.logits(squares), [item.size for item in found]) if found else [])
        for item in batch:
            yield next(answers) if isinstance(item, _Prepared) else item

    def _run(self, squares: np.ndarray, output: str) -> np.ndarray:
        images = to_network_input(squares, self.spec)
        logits, found = self._ask(images, "logit", output)
        near = np.flatnonzero(np.abs(logits) < self.certain_logit) if self.spec.mirrored else np.zeros(0, int)
        if near.size:
            (other,) = self._ask(np.ascontiguousarray(images[near, ..., ::-1]), output)
            found = found.copy()
            found[near] = (found[near] + (other if output == "logit" else other[..., ::-1])) / 2
        return found

    def _ask(self, images: np.ndarray, *outputs: str) -> list[np.ndarray]:
        return ask(self._session, images, outputs, where=self.folder / MODEL)

    @cached_property
    def _session(self) -> Any:
        return open_session(self.folder, self.card, n_threads=self.n_threads)

    def _check_card(self) -> None:
        try:
            is_sound = (
                is_possible(self.card["calibration"])
                and 0 <= self.certain_logit < math.inf
                and self.spec.size > 0
                and isinstance(self.card["name"], str)
                and all(isinstance(self.card[key], dict) for key in ("trained_on", "model"))
                and int(self.card["model"].get("at_once", 1)) > 0
            )
            self.rule, self.scope, points_of(self.card)  # reading them is the check
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DetectorError(f"the card in {self.folder} lacks a value ({error!r}): export the detector again") from error
        if not is_sound:
            raise DetectorError(f"the card in {self.folder} holds an impossible value: export the detector again")
        if not (self.folder / MODEL).is_file():
            raise DetectorError(f"{self.folder / MODEL} is missing: train or copy the detector again")


@dataclass(frozen=True)
class _Prepared:
    square: np.ndarray
    size: tuple[int, int]


def _find(where: str | Path | None) -> Path:
    if where is None:
        if not (ASSETS / DEFAULT / CARD).is_file():
            raise DetectorError(
                "no detector is bundled with this version: train one with 'fauxto train', "
                "then name its folder (--detector FOLDER)"
            )
        return ASSETS / DEFAULT
    if (ASSETS / str(where) / CARD).is_file() and not Path(where).exists():
        return ASSETS / str(where)
    try:
        folder = Path(where).expanduser()
    except RuntimeError as error:  # "~name" of a user that does not exist
        raise DetectorError(f"there is no detector at {where} ({error}): give a folder") from error
    inside = folder / "detector"
    return inside if (inside / CARD).is_file() and not (folder / CARD).is_file() else folder
