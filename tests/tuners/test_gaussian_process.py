"""The Gaussian process of the trust region: scikit-learn's predictions, and what noise and choices make of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from autoprune.tuners import _gaussian_process as gp
from autoprune.tuners._gaussian_process import Places, expected_improvement, fit


def numbers(values: np.ndarray) -> Places:
    return Places(values, np.zeros((len(values), 0)))


def wave(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.sin(values).sum(1))


def drawn(count: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    values = random.uniform(-3, 3, (count, 2))
    return values, wave(values) + noise * random.standard_normal(count)


def test_predictions_are_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the length and the noise that were found, which alone are not told."""
    monkeypatch.setattr(gp, "NOISES", (0.1,))
    values, results = drawn(30, 0.3)
    counts = np.random.default_rng(1).integers(1, 4, 30).astype(float)
    model = fit(numbers(values), results, counts)
    kernel = ConstantKernel(model.variance, "fixed") * Matern(model.length, "fixed", nu=2.5)
    reference = GaussianProcessRegressor(kernel, alpha=model.variance * (0.1 / counts + gp.JITTER), optimizer=None)
    reference.fit(values, results - model.mean)
    asked, _ = drawn(50, 0, seed=2)
    mean, deviation = model.at(numbers(asked))
    expected, spread = reference.predict(asked, return_std=True)
    assert mean == pytest.approx(expected + model.mean, abs=1e-8)
    assert deviation == pytest.approx(spread, rel=1e-4)


def test_mean_and_variance_are_the_most_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of generalised least squares: any other is less likely."""
    monkeypatch.setattr(gp, "NOISES", (0.1,))
    values, results = drawn(20, 0.3)
    model = fit(numbers(values), results, np.ones(20))
    covariances = Matern(model.length, nu=2.5)(values) + (0.1 + gp.JITTER) * np.eye(20)

    def likelihood(mean: float, variance: float) -> float:
        rest = results - mean
        _, size = np.linalg.slogdet(variance * covariances)
        return float(-0.5 * size - 0.5 * rest @ np.linalg.solve(variance * covariances, rest))

    best = likelihood(model.mean, model.variance)
    for factor in (0.8, 1.25):
        assert likelihood(model.mean, factor * model.variance) < best
    for shift in (-0.3, 0.3):
        assert likelihood(model.mean + shift, model.variance) < best


def test_it_believes_results_without_noise_and_averages_noisy_ones() -> None:
    values, exact = drawn(40, 0)
    noisy = np.random.default_rng(3).standard_normal(40)
    assert fit(numbers(values), exact, np.ones(40)).at(numbers(values))[0] == pytest.approx(exact, abs=0.1)
    assert fit(numbers(values), noisy, np.ones(40)).at(numbers(values))[0].std() < 0.5 * noisy.std()


def test_a_place_that_was_tried_often_counts_for_more() -> None:
    """A good mean of many results is believed; the same from one is luck."""
    values, results = drawn(30, 1.0)
    results[7] = results.min() - 2
    often = np.where(np.arange(30) == 7, 50.0, 1.0)
    once = fit(numbers(values), results, np.ones(30)).at(numbers(values[7:8]))[0][0]
    assert abs(fit(numbers(values), results, often).at(numbers(values[7:8]))[0][0] - results[7]) < abs(
        once - results[7]
    )


def test_another_option_is_alike_but_less_known() -> None:
    values, results = drawn(30, 0)
    known = Places(values, np.zeros((30, 1)))
    model = fit(known, results, np.ones(30))
    same, same_spread = model.at(known)
    other, other_spread = model.at(Places(values, np.ones((30, 1))))
    assert np.corrcoef(same, other)[0, 1] > 0.99
    assert (other_spread > same_spread).all()


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (2.0, 0.5), (-1.0, 0.3)])
def test_expected_improvement_is_what_it_says(mean: float, deviation: float) -> None:
    best = 0.5
    exact, _ = quad(lambda value: (best - value) * norm.pdf(value, mean, deviation), mean - 12 * deviation, best)
    assert expected_improvement(np.array([mean]), np.array([deviation]), best)[0] == pytest.approx(
        max(exact, 0), abs=1e-7
    )
