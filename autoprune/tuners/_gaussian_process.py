"""A Gaussian process over noisy results, fitted anew for every answer.

The mean is constant, the kernel Matern 5/2 with one length for all numbers, times `ALIKE` for each choice in which two
places differ. Length and noise are those of a grid that are the most likely, by the marginal likelihood and a broad
prior; mean and variance follow from them. A place that was tried n times has an nth of the noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]

LENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0)
NOISES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Shares of the variance."""
USUAL_LENGTH, USUAL_NOISE = 2.0, 0.1
ALIKE = 0.8
JITTER = 1e-6


@dataclass(frozen=True)
class Places:
    """Numbers and the indices of choices, a row for each place."""

    numbers: Array
    choices: Array

    def __add__(self, other: Places) -> Places:
        return Places(np.concatenate([self.numbers, other.numbers]), np.concatenate([self.choices, other.choices]))

    def covariances(self, others: Places) -> Callable[[float], Array]:
        """With each of the others, as a function of the length; the variance is 1."""
        apart = distances(self.numbers, others.numbers)
        alike = ALIKE ** (self.choices[:, None] != others.choices[None]).sum(-1)
        return lambda length: matern(apart / length) * alike


@dataclass(frozen=True)
class GaussianProcess:
    """`weights` make the mean at a place from its covariances with the known ones, `factor` its variance."""

    places: Places
    length: float
    mean: float
    variance: float
    factor: Array
    weights: Array

    def at(self, places: Places) -> tuple[Array, Array]:
        """The mean and the standard deviation at each place, noise left out."""
        covariances = places.covariances(self.places)(self.length)
        explained = np.linalg.solve(self.factor, covariances.T)
        shares = np.maximum(1 - (explained**2).sum(0), JITTER)
        return self.mean + covariances @ self.weights, np.sqrt(self.variance * shares)


def fit(places: Places, values: Array, counts: Array) -> GaussianProcess:
    """The process that explains best what was measured: `values` are means of `counts` results each."""
    covariances_at, ones = places.covariances(places), np.ones(len(values))
    best, likelihood = None, -np.inf
    for length in LENGTHS:
        covariances = covariances_at(length)
        for noise in NOISES:
            factor = np.asarray(np.linalg.cholesky(covariances + np.diag(noise / counts + JITTER)), np.float64)
            one, value = np.linalg.solve(factor, np.stack([ones, values], axis=1)).T
            mean = float(one @ value / (one @ one))
            rest = value - mean * one
            variance = max(float(rest @ rest) / len(values), np.finfo(float).tiny)
            found = -0.5 * len(values) * np.log(variance) - np.log(np.diag(factor)).sum() + _prior(length, noise)
            if found > likelihood:
                weights = np.linalg.solve(factor.T, rest)
                best, likelihood = GaussianProcess(places, length, mean, variance, factor, weights), found
    assert best is not None
    return best


def expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """How far below `best` a value is on average, where it counts as `best` when it is above."""
    ahead = (best - mean) / deviation
    expected: Array = deviation * (ahead * ndtr(ahead) + np.exp(-0.5 * ahead**2) / np.sqrt(2 * np.pi))
    return expected


def matern(distance: Array) -> Array:
    """The kernel Matern 5/2."""
    scaled = np.sqrt(5) * distance
    covariance: Array = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
    return covariance


def distances(ones: Array, others: Array) -> Array:
    """From each of the first to each of the second."""
    squares = (ones**2).sum(1)[:, None] + (others**2).sum(1)[None] - 2 * ones @ others.T
    distance: Array = np.sqrt(np.maximum(squares, 0))
    return distance


def _prior(length: float, noise: float) -> float:
    """The logarithm of how usual they are: within a factor of e, and of e^1.5."""
    return float(-0.5 * np.log(length / USUAL_LENGTH) ** 2 - 0.5 * (np.log(noise / USUAL_NOISE) / 1.5) ** 2)
