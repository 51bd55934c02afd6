"""heads: the optimum of the penalised loss, weights per generator by hand, and a head that can be folded into its features."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import minimize

from fauxto.errors import TrainingError
from fauxto.models.grafting import answers
from fauxto.training import heads
from fauxto.training.heads import Examples, fit_head, unscaled, weighted_loss, weights_of


def examples(n: int = 400, *, seed: int = 0, shift: float = 1.0) -> Examples:
    """Two clouds that differ in one of six directions; the features' scales differ by a thousand."""
    rng = np.random.default_rng(seed)
    is_fake = rng.random(n) < 0.4
    features = rng.normal(size=(n, 6))
    features[:, 2] += shift * is_fake
    weight = rng.random(n) + 0.5
    return Examples((features * np.geomspace(1, 1000, 6) + 3).astype(np.float32), is_fake, weight / weight.mean())


# ---------------------------------------------------------------- weights


def test_each_generator_of_a_class_weighs_the_same_and_so_do_the_classes():
    store = SimpleNamespace(label=np.array([0, 0, 1, 1, 1, 1, 1]), generator=np.array(["", "", "a", "a", "a", "b", "b"]))
    positions = np.array([0, 1, 2, 3, 4, 5])
    # Six images: each class 3, of the fakes a 1.5 in three images, b 1.5 in one.
    assert weights_of(store, positions, balanced=True).tolist() == [1.5, 1.5, 0.5, 0.5, 0.5, 1.5]
    assert weights_of(store, positions, balanced=False).tolist() == [1.0] * 6


def test_the_loss_by_hand():
    part = Examples(np.zeros((2, 1)), np.array([True, False]), np.array([1.5, 0.5]))
    expected = (1.5 * np.log(1 + np.exp(-2.0)) + 0.5 * np.log(1 + np.exp(-1.0))) / 2
    assert weighted_loss(np.array([2.0, -1.0]), part) == pytest.approx(expected, abs=1e-12)


# ---------------------------------------------------------------- linear


@pytest.mark.parametrize("strength", [1e-2, 1.0])
def test_the_linear_head_is_the_optimum_of_the_penalised_loss(strength):
    train = examples()
    scaled = Examples(np.asarray((train.features - 3) / np.geomspace(1, 1000, 6), np.float64), train.is_fake, train.weight)

    def loss(values):
        logits = scaled.features @ values[:-1] + values[-1]
        return weighted_loss(logits, scaled) + strength / 2 * (values[:-1] ** 2).sum()

    best = minimize(loss, np.zeros(7), tol=1e-10)
    ((weight, bias),) = heads._fit_linear(scaled, scaled, strength, 0)
    np.testing.assert_allclose(np.r_[weight[0], bias], best.x, atol=2e-3)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_head_finds_what_tells_the_classes_apart_and_validation_picks_its_strength(kind):
    train, validation = examples(seed=0, shift=4), examples(seed=1, shift=4)
    layers, rows = fit_head(kind, train, validation, seed=0)
    logits = answers(layers, validation.features)
    assert np.mean((logits > 0) == validation.is_fake) > 0.9
    losses = [row["validation_loss"] for row in rows]
    assert [row["strength"] for row in rows] == list(heads.STRENGTHS)
    assert weighted_loss(logits, validation) == pytest.approx(min(losses), abs=1e-4)  # float32, and folded into the features
    assert min(losses) < losses[-1]


def test_a_feature_that_never_changes_does_no_harm():
    train, validation = examples(), examples(seed=1)
    for part in (train, validation):
        part.features[:, 0] = 7.0
    ((weight, _),), _ = fit_head("linear", train, validation)
    assert np.isfinite(weight).all()


def test_the_same_seed_gives_the_same_head_and_leaves_the_generator_alone():
    import torch

    state = torch.random.get_rng_state()
    first, second = (fit_head("mlp", examples(), examples(seed=1), seed=3)[0] for _ in range(2))
    assert all(np.array_equal(a, b) for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_folding_in_the_scale_changes_no_answer():
    rng = np.random.default_rng(0)
    layers = ((rng.normal(size=(4, 6)), rng.normal(size=4)), (rng.normal(size=(1, 4)), rng.normal(size=1)))
    mean, spread, features = rng.normal(size=6), rng.random(6) + 0.5, rng.normal(size=(9, 6))
    plain = unscaled(layers, mean, spread)
    np.testing.assert_allclose(answers(plain, features), answers(layers, (features - mean) / spread), atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(bad):
    train = examples()
    train.features[3, 1] = bad
    with pytest.raises(TrainingError, match="no finite numbers"):
        fit_head("linear", train, examples())
