"""Heads on frozen features: logistic regression, or one hidden layer; validation picks how strongly weights are pulled to 0."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fauxto.data.splits import Positions
from fauxto.data.store import Store
from fauxto.errors import TrainingError, missing_extra
from fauxto.models.grafting import Layers, answers

try:
    import torch
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from torch import nn
except ImportError as error:
    raise missing_extra("train", error.name or "torch") from error

# Of features with spread 1. "linear": half of it times the sum of squares is added to the mean loss; "mlp": AdamW's decay.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
HIDDEN = 64
MAX_EPOCHS, PATIENCE, BATCH_SIZE, LEARNING_RATE = 60, 5, 256, 1e-3


@dataclass(frozen=True, eq=False)
class Examples:
    """Features of images with what is true of them.

    Attributes:
        features: float32, shape (n, d).
        is_fake: Bool, shape (n,).
        weight: float64, shape (n,), how much each counts; 1 on average.
    """

    features: np.ndarray
    is_fake: np.ndarray
    weight: np.ndarray


def fit_head(kind: str, train: Examples, validation: Examples, *, seed: int = 0) -> tuple[Layers, list[dict[str, float]]]:
    """Return the head with the lowest validation loss, and a row for each strength that was tried.

    Args:
        kind: "linear" or "mlp".
        train: What it learns from.
        validation: What picks the strength, and the epoch of an "mlp".
        seed: Of an "mlp".

    Raises:
        TrainingError: A feature is no finite number.
    """
    if not (np.isfinite(train.features).all() and np.isfinite(validation.features).all()):
        raise TrainingError("the backbone's features are no finite numbers: take another, or another normalisation")
    mean = np.average(train.features, axis=0, weights=train.weight)
    spread = np.sqrt(np.average((train.features - mean) ** 2, axis=0, weights=train.weight))
    spread = np.where(spread > 1e-6, spread, 1.0)
    learned, judging = (replace(part, features=(part.features - mean) / spread) for part in (train, validation))
    tried, rows = [], []
    for strength in STRENGTHS:
        layers = _FITS[kind](learned, judging, strength, seed)
        losses = [weighted_loss(answers(layers, part.features), part) for part in (learned, judging)]
        tried.append(layers)
        rows.append({"strength": strength, "train_loss": losses[0], "validation_loss": losses[1]})
    best = min(range(len(rows)), key=lambda at: rows[at]["validation_loss"])
    return unscaled(tried[best], mean, spread), rows


def unscaled(layers: Layers, mean: np.ndarray, spread: np.ndarray) -> Layers:
    """Return a head for features as they are, where ``layers`` wants (features - mean) / spread.

    Example:
        >>> ((weight, bias),) = unscaled(((np.array([[2.0]]), np.array([1.0])),), np.array([3.0]), np.array([4.0]))
        >>> weight.tolist(), bias.tolist()
        ([[0.5]], [-0.5])
    """
    (weight, bias), *others = layers
    first = weight / spread
    plain = [(first, bias - first @ mean), *others]
    return tuple((weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in plain)


def weights_of(store: Store, positions: Positions, *, balanced: bool) -> np.ndarray:
    """Return how much each image counts, 1 on average: float64, shape (n,).

    Args:
        store: Where the images lie.
        positions: Which of them.
        balanced: Both classes together weigh the same, and within a class all generators do; else all images do.
    """
    weight = np.ones(len(positions))
    if balanced:
        label, generator = store.label[positions], store.generator[positions]
        for kind in (0, 1):
            names, which, counts = np.unique(generator[label == kind], return_inverse=True, return_counts=True)
            weight[label == kind] = len(positions) / (2 * len(names) * counts[which])
    return weight


def weighted_loss(logits: np.ndarray, examples: Examples) -> float:
    """Return the weighted mean of the log loss, in nats."""
    signed = np.where(examples.is_fake, -logits, logits).astype(np.float64)
    return float(np.average(np.logaddexp(0, signed), weights=examples.weight))


def _fit_linear(train: Examples, validation: Examples, strength: float, seed: int) -> Layers:
    model = LogisticRegression(C=1 / (strength * len(train.is_fake)), max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # validation judges what came of it, converged or not
        model.fit(train.features, train.is_fake, sample_weight=train.weight)
    return ((model.coef_, model.intercept_),)


def _fit_mlp(train: Examples, validation: Examples, strength: float, seed: int) -> Layers:
    """Train with Adam until the validation loss has not fallen for some epochs; the best epoch's weights stay."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(train.features.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
        optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=strength)
        columns = [torch.from_numpy(np.asarray(each, np.float32)) for each in (train.features, train.is_fake, train.weight)]
        best, layers, waited = float("inf"), _layers_of(network), 0
        for _ in range(MAX_EPOCHS):
            order = torch.randperm(len(columns[0]))
            for at in range(0, len(order), BATCH_SIZE):
                features, is_fake, weight = (column[order[at : at + BATCH_SIZE]] for column in columns)
                loss = nn.functional.binary_cross_entropy_with_logits(network(features)[:, 0], is_fake, weight)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            found = _layers_of(network)
            loss_now = weighted_loss(answers(found, validation.features), validation)
            best, layers, waited = (loss_now, found, 0) if loss_now < best else (best, layers, waited + 1)
            if waited == PATIENCE:
                break
    return layers


def _layers_of(network: nn.Sequential) -> Layers:
    linear = [part for part in network if isinstance(part, nn.Linear)]
    return tuple((part.weight.detach().numpy().copy(), part.bias.detach().numpy().copy()) for part in linear)


_FITS: dict[str, Callable[[Examples, Examples, float, int], Layers]] = {"linear": _fit_linear, "mlp": _fit_mlp}
