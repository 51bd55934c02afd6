"""One number from (is_fake, p_fake): fake is the positive class, and a tie at the threshold is fake.

A number that the images cannot give (one class only, nothing called fake) is refused with the reason; it is never 0 or NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fauxto.errors import ScoreError

N_BINS = 15
ONE_CLASS = "it needs real and fake images, and only one kind is here"


class Confusion(NamedTuple):
    """Counts of images; positive = fake."""

    tn: int
    fp: int
    fn: int
    tp: int


def check_scores(is_fake: np.ndarray, p_fake: np.ndarray) -> None:
    """Refuse labels and scores that do not fit together.

    Args:
        is_fake: Bool, shape (n,).
        p_fake: Float, shape (n,), in [0, 1]. Logits are refused, never guessed.

    Raises:
        ScoreError: No image, other types or shapes, or a score that is NaN or outside [0, 1].
    """
    if is_fake.dtype != bool or not np.issubdtype(p_fake.dtype, np.floating):
        raise ScoreError(f"expected is_fake as bool and p_fake as float, got {is_fake.dtype} and {p_fake.dtype}")
    if is_fake.ndim != 1 or is_fake.shape != p_fake.shape:
        raise ScoreError(f"expected one p_fake per is_fake in two flat arrays, got shapes {is_fake.shape} and {p_fake.shape}")
    if not is_fake.size:
        raise ScoreError("need at least one image, got none")
    if not ((p_fake >= 0) & (p_fake <= 1)).all():
        wrong = p_fake[~((p_fake >= 0) & (p_fake <= 1))][0]
        raise ScoreError(f"p_fake must lie in [0, 1], got {wrong}: give calibrated probabilities, not logits")


def confusion(is_fake: np.ndarray, p_fake: np.ndarray, *, threshold: float) -> Confusion:
    """Count right and wrong answers.

    Args:
        is_fake: Bool, shape (n,).
        p_fake: Float, shape (n,), in [0, 1].
        threshold: An image is called fake when ``p_fake >= threshold``.

    Raises:
        ScoreError: See ``check_scores``; or the threshold lies outside [0, 1].

    Example:
        >>> confusion(np.array([False, False, True]), np.array([0.1, 0.5, 0.9]), threshold=0.5)
        Confusion(tn=1, fp=1, fn=0, tp=1)
    """
    check_scores(is_fake, p_fake)
    if not 0 <= threshold <= 1:
        raise ScoreError(f"the threshold must lie in [0, 1], got {threshold}")
    # >= as in Detector.predict: a tie is "fake" in both places.
    called_fake = p_fake >= threshold
    tn, fp, fn, tp = np.bincount(2 * is_fake + called_fake, minlength=4).tolist()
    return Confusion(tn, fp, fn, tp)


# name -> numerator and denominator of (tn, fp, fn, tp), which may be arrays; and why the denominator can be 0.
RATIOS: dict[str, tuple[Callable[[Any, Any, Any, Any], tuple[Any, Any]], str]] = {
    "accuracy": (lambda tn, fp, fn, tp: (tn + tp, tn + fp + fn + tp), "there is no image"),
    "balanced_accuracy": (lambda tn, fp, fn, tp: (tp * (tn + fp) + tn * (tp + fn), 2 * (tn + fp) * (tp + fn)), ONE_CLASS),
    "precision": (lambda tn, fp, fn, tp: (tp, tp + fp), "no image was called fake"),
    "recall": (lambda tn, fp, fn, tp: (tp, tp + fn), "no image is fake"),
    "f1": (lambda tn, fp, fn, tp: (2 * tp, 2 * tp + fp + fn), "no image is fake and none was called fake"),
    "false_alarm_rate": (lambda tn, fp, fn, tp: (fp, tn + fp), "no image is real"),
}


def accuracy(is_fake: np.ndarray, p_fake: np.ndarray, *, threshold: float) -> float:
    """Return the share of right answers; arguments and errors as in ``confusion``.

    Example:
        >>> accuracy(np.array([False, False, True, True]), np.array([0.1, 0.5, 0.9, 0.8]), threshold=0.5)
        0.75
    """
    return ratio_of_counts("accuracy", confusion(is_fake, p_fake, threshold=threshold))


def balanced_accuracy(is_fake: np.ndarray, p_fake: np.ndarray, *, threshold: float) -> float:
    """Return the mean of both classes' shares of right answers; ScoreError if one class is missing.

    Example:
        >>> balanced_accuracy(np.array([False, True, True, True]), np.array([0.9, 0.5, 0.9, 0.8]), threshold=0.5)
        0.5
    """
    return ratio_of_counts("balanced_accuracy", confusion(is_fake, p_fake, threshold=threshold))


def precision(is_fake: np.ndarray, p_fake: np.ndarray, *, threshold: float) -> float:
    """Return the share of fakes among the images called fake; ScoreError if none was.

    Example:
        >>> precision(np.array([False, False, True, True]), np.array([0.1, 0.5, 0.9, 0.2]), threshold=0.5)
        0.5
    """
    return ratio_of_counts("precision", confusion(is_fake, p_fake, threshold=threshold))


def recall(is_fake: np.ndarray, p_fake: np.ndarray, *, threshold: float) -> float:
    """Return the share of fakes that were called fake; ScoreError if there is none.

    Example:
        >>> recall(np.array([False, True, True, True, True]), np.array([0.1, 0.5, 0.9, 0.2, 0.7]), threshold=0.5)
        0.75
    """
    return ratio_of_counts("recall", confusion(is_fake, p_fake, threshold=threshold))


def f1(is_fake: np.ndarray, p_fake: np.ndarray, *, threshold: float) -> float:
    """Return the harmonic mean of precision and recall; ScoreError if no image is fake or called so.

    Example:
        >>> f1(np.array([False, False, True, True]), np.array([0.1, 0.5, 0.9, 0.2]), threshold=0.5)
        0.5
    """
    return ratio_of_counts("f1", confusion(is_fake, p_fake, threshold=threshold))


def false_alarm_rate(is_fake: np.ndarray, p_fake: np.ndarray, *, threshold: float) -> float:
    """Return the share of real images called fake, lower is better; ScoreError if none is real.

    Example:
        >>> false_alarm_rate(np.array([False, False, True]), np.array([0.1, 0.7, 0.9]), threshold=0.5)
        0.5
    """
    return ratio_of_counts("false_alarm_rate", confusion(is_fake, p_fake, threshold=threshold))


def roc_auc(is_fake: np.ndarray, p_fake: np.ndarray) -> float:
    """Return the chance that a fake image scores above a real one, a tie counting half; ScoreError if one class is missing.

    Example:
        >>> roc_auc(np.array([False, False, True, True]), np.array([0.1, 0.5, 0.5, 0.9]))
        0.875
    """
    return _ranking(auc_of_counts, is_fake, p_fake)


def average_precision(is_fake: np.ndarray, p_fake: np.ndarray) -> float:
    """Return the mean precision over the recalls, without interpolation; ScoreError if one class is missing.

    Example:
        >>> average_precision(np.array([False, True, True]), np.array([0.5, 0.5, 0.9]))
        0.8333333333333333
    """
    return _ranking(ap_of_counts, is_fake, p_fake)


def tpr_at_fpr(is_fake: np.ndarray, p_fake: np.ndarray, *, fpr: float) -> float:
    """Return the largest share of fakes found by a threshold that calls at most ``fpr`` of the real images fake.

    It describes the ranking, as ROC AUC does: the threshold behind it is chosen on these very images, so that it is no
    threshold to use. Ties are never split, and nothing is interpolated.

    Args:
        is_fake: Bool, shape (n,).
        p_fake: Float, shape (n,), in [0, 1].
        fpr: Highest share of real images called fake, in [0, 1].

    Raises:
        ScoreError: See ``check_scores``; or ``fpr`` lies outside [0, 1], or one class is missing.

    Example:
        >>> tpr_at_fpr(np.array([False, False, True, True, True]), np.array([0.1, 0.6, 0.5, 0.7, 0.9]), fpr=0.01)
        0.6666666666666666
    """
    if not 0 <= fpr <= 1:
        raise ScoreError(f"the share of false alarms must lie in [0, 1], got {fpr}")
    return _ranking(lambda real, fake: tpr_of_counts(real, fake, fpr=fpr), is_fake, p_fake)


def expected_calibration_error(is_fake: np.ndarray, p_fake: np.ndarray) -> float:
    """Return how far ``p_fake`` lies from the share of fakes, on average over 15 equal bins (Guo et al. 2017, arXiv 1706.04599).

    Example:
        >>> expected_calibration_error(np.array([False, True, True, True]), np.array([0.25, 0.25, 1.0, 1.0]))
        0.125
    """
    check_scores(is_fake, p_fake)
    gaps = np.bincount(bin_of(p_fake), weights=p_fake - is_fake, minlength=N_BINS)
    return float(np.abs(gaps).sum() / is_fake.size)


def cumulative_counts(is_fake: np.ndarray, p_fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many real and fake images score at or above each distinct score, from the highest down.

    Example:
        >>> [counts.tolist() for counts in cumulative_counts(np.array([False, True, True]), np.array([0.5, 0.5, 0.9]))]
        [[0, 1], [1, 2]]
    """
    check_scores(is_fake, p_fake)
    real, fake = real_and_fake(cells_of(is_fake, p_fake), None)
    return np.cumsum(real), np.cumsum(fake)


def ratio_of_counts(name: str, counts: Confusion) -> float:
    """Return one of ``RATIOS``; ScoreError if its denominator is 0."""
    ratio, reason = RATIOS[name]
    top, bottom = ratio(*counts)
    if not bottom:
        raise ScoreError(f"{name} cannot be given: {reason}")
    return float(top / bottom)


def _ranking(metric: Callable[[np.ndarray, np.ndarray], float], is_fake: np.ndarray, p_fake: np.ndarray) -> float:
    check_scores(is_fake, p_fake)
    if is_fake.all() or not is_fake.any():
        raise ScoreError(f"a ranking cannot be measured: {ONE_CLASS}")
    return metric(*real_and_fake(cells_of(is_fake, p_fake), None))


def cells_of(is_fake: np.ndarray, p_fake: np.ndarray) -> np.ndarray:
    """Return 2 * rank + is_fake for each image; rank 0 has the highest score, and equal scores share a rank."""
    _, rank = np.unique(-p_fake, return_inverse=True)
    return np.asarray(2 * rank + is_fake)


def real_and_fake(cells: np.ndarray, n_cells: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return how many real and fake images have each rank."""
    n_ranks = ((int(cells.max()) + 1 if n_cells is None else n_cells) + 1) // 2
    counts = np.bincount(cells, minlength=2 * n_ranks)
    return counts[0::2], counts[1::2]


def auc_of_counts(real: np.ndarray, fake: np.ndarray) -> float:
    """Return ROC AUC of how many real and fake images have each rank; both kinds must be there."""
    # Twice the number of pairs in the right order, so that a tie's half stays a whole number.
    pairs = np.sum(real * (2 * np.cumsum(fake) - fake))
    return float(pairs / (2 * real.sum() * fake.sum()))


def ap_of_counts(real: np.ndarray, fake: np.ndarray) -> float:
    """Return average precision of how many real and fake images have each rank; a fake must be there."""
    n_fake, n_real = np.cumsum(fake), np.cumsum(real)
    return float(np.sum(fake * (n_fake / np.maximum(n_fake + n_real, 1))) / n_fake[-1])


def tpr_of_counts(real: np.ndarray, fake: np.ndarray, *, fpr: float) -> float:
    """Return ``tpr_at_fpr`` of how many real and fake images have each rank; both kinds must be there."""
    is_allowed = np.cumsum(real) / real.sum() <= fpr
    return float(fake[is_allowed].sum() / fake.sum())


def bin_of(p_fake: np.ndarray) -> np.ndarray:
    """Return bins 0 to 14; a score on an edge belongs to the bin below it, as in Guo et al."""
    return np.searchsorted(np.linspace(0, 1, N_BINS + 1)[1:-1], p_fake, side="left")
