"""Detector: load a detector folder, ask it about images; ONNX Runtime, no PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fauxto.calibration import to_p_fake
from fauxto.checkpoint import CARD, MODEL, read_card, verified
from fauxto.errors import DetectorError, ImageError
from fauxto.images import open_rgb, to_rgb
from fauxto.preprocess import PreprocessSpec, fit_square, to_network_input
from fauxto.vocabulary import Prediction, Verdict

ImageLike = str | Path | bytes | Image.Image | np.ndarray
BATCH_SIZE = 256


@dataclass(frozen=True)
class Detector:
    """A trained detector, ready to answer.

    Attributes:
        folder: Where it lies.
        card: What it was trained on, its scope, thresholds and metrics.

    Example:
        >>> from fauxto import Detector
        >>> Detector.load("no/such/folder")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        fauxto.errors.DetectorError: there is no detector in no/such/folder: ...
    """

    folder: Path
    card: dict[str, Any]

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

    @cached_property
    def threshold(self) -> float:
        """An image is called fake when ``p_fake >= threshold``."""
        return float(self.card["threshold"])

    @cached_property
    def temperature(self) -> float:
        """Logits are divided by it before they become probabilities."""
        return float(self.card["calibration"]["temperature"])

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
        waiting: list[_Prepared | ImageError] = []
        for image in images:
            waiting.append(self._prepared(image))
            if len(waiting) == batch_size:
                yield from self._answers(waiting)
                waiting = []
        yield from self._answers(waiting)

    def logits(
        self,
        images: Iterable[np.ndarray],
        *,
        batch_size: int = BATCH_SIZE,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Return the network's raw answers.

        Args:
            images: uint8, shape (h, w, 3) each.
            batch_size: Images that the network sees at once.
            progress: Called with the number of images answered so far.

        Returns:
            float32, shape (n,).
        """
        answers: list[np.ndarray] = []
        batch: list[np.ndarray] = []
        n_done = 0
        for image in images:
            batch.append(fit_square(image, size=self.spec.size))
            if len(batch) == batch_size:
                answers.append(self._run(np.stack(batch), "logit"))
                n_done, batch = n_done + len(batch), []
                if progress:
                    progress(n_done)
        if batch:
            answers.append(self._run(np.stack(batch), "logit"))
            if progress:
                progress(n_done + len(batch))
        return np.concatenate(answers) if answers else np.zeros(0, np.float32)

    def p_fake(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities for logits: float64, same shape."""
        return to_p_fake(logits, temperature=self.temperature)

    def evidence(self, image: ImageLike) -> np.ndarray:
        """Return the map of local evidence behind the logit: float32, shape (h, w); its mean is the logit.

        Raises:
            ImageError: The image cannot be read.
        """
        pixels = fit_square(to_pixels(image), size=self.spec.size)
        return np.asarray(self._run(pixels[None], "evidence")[0])

    def _prepared(self, image: ImageLike) -> _Prepared | ImageError:
        try:
            pixels = to_pixels(image)
        except ImageError as error:
            return error
        return _Prepared(fit_square(pixels, size=self.spec.size), self.out_of_scope(*pixels.shape[:2]))

    def _answers(self, waiting: list[_Prepared | ImageError]) -> Iterator[Prediction | ImageError]:
        squares = [item.square for item in waiting if isinstance(item, _Prepared)]
        logits = iter(self.logits(squares).tolist())
        for item in waiting:
            yield self.prediction_of(next(logits), item.reason) if isinstance(item, _Prepared) else item

    def prediction_of(self, logit: float, reason: str) -> Prediction:
        """Return the verdict on a logit: by the threshold, or "unsure" where a reason is given."""
        p_fake = float(self.p_fake(np.array(logit)))
        if reason:
            return Prediction(p_fake, logit, Verdict.UNSURE.value, reason)
        # >= as in metrics: a tie is "fake" in both places.
        verdict = Verdict.FAKE if p_fake >= self.threshold else Verdict.REAL
        return Prediction(p_fake, logit, verdict.value)

    def out_of_scope(self, height: int, width: int) -> str:
        """Return why an image of this size is outside of what the detector was trained for, or nothing."""
        low, high = self.card["scope"]["min_side"], self.card["scope"]["max_side"]
        if low <= min(height, width) and max(height, width) <= high:
            return ""
        return f"the image has {width} x {height} pixels, this detector was trained for {low} to {high} a side"

    def _run(self, squares: np.ndarray, output: str) -> np.ndarray:
        inputs = {"images": to_network_input(squares, self.spec)}
        session = self._session
        try:
            return np.asarray(session.run([output], inputs)[0])
        except Exception as error:  # ONNX Runtime raises its own, undocumented classes
            raise DetectorError(f"{self.folder / MODEL} does not fit its card ({error}): export the detector again") from error

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        path = verified(self.folder, self.card, MODEL)
        try:
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            names = {output.name for output in session.get_outputs()}
        except Exception as error:  # ONNX Runtime raises its own, undocumented classes
            raise DetectorError(f"{path} cannot be loaded ({error}): train or copy the detector again") from error
        if not {"logit", "evidence"} <= names or [item.name for item in session.get_inputs()] != ["images"]:
            raise DetectorError(f"{path} is not a fauxto model (images -> logit, evidence): export the detector again")
        return session

    def _check_card(self) -> None:
        try:
            scope = self.card["scope"]
            is_sound = (
                0 <= self.threshold <= 1
                and 0 < self.temperature < math.inf
                and 0 <= float(scope["min_side"]) <= float(scope["max_side"])
                and self.spec.size > 0
                and isinstance(self.card["name"], str)
                and all(isinstance(self.card[key], dict) for key in ("trained_on", "model"))
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DetectorError(f"the card in {self.folder} lacks a value ({error!r}): export the detector again") from error
        if not is_sound:
            raise DetectorError(f"the card in {self.folder} holds an impossible value: export the detector again")
        if not (self.folder / MODEL).is_file():
            raise DetectorError(f"{self.folder / MODEL} is missing: train or copy the detector again")


@dataclass(frozen=True)
class _Prepared:
    square: np.ndarray
    reason: str


def _find(where: str | Path | None) -> Path:
    assets = Path(str(resources.files("fauxto"))) / "assets"
    if where is None:
        bundled = sorted(path.parent for path in assets.glob(f"*/{CARD}"))
        if not bundled:
            raise DetectorError(
                "no detector is bundled with this version: train one with 'fauxto train', "
                "then name its folder (--detector FOLDER)"
            )
        return bundled[0]
    if (assets / str(where) / CARD).is_file() and not Path(where).exists():
        return assets / str(where)
    try:
        folder = Path(where).expanduser()
    except RuntimeError as error:  # "~name" of a user that does not exist
        raise DetectorError(f"there is no detector at {where} ({error}): give a folder") from error
    inside = folder / "detector"
    return inside if (inside / CARD).is_file() and not (folder / CARD).is_file() else folder


def to_pixels(image: ImageLike) -> np.ndarray:
    """Return uint8 (h, w, 3) for anything that ``predict`` takes."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ImageError(f"expected a uint8 array of shape (h, w, 3), got {image.dtype} {image.shape}")
        return image
    if isinstance(image, Image.Image):
        return np.asarray(to_rgb(image))
    if isinstance(image, (str, Path, bytes)):
        return np.asarray(open_rgb(image))
    raise ImageError(f"expected a path, bytes, a Pillow image or a uint8 array, got {type(image).__name__}")
