import numpy as np

from sketch2ct.masks.components import principal_components


def test_they_are_those_of_the_covariance():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(30, 6)) @ rng.normal(size=(6, 6)) + 3
    mean, weights, found = principal_components(flat, 6)
    assert np.allclose(mean, flat.mean(axis=0)) and np.allclose(mean + weights @ found, flat)
    assert np.allclose(weights.mean(axis=0), 0) and np.allclose(weights.T @ weights / 30, np.eye(6))
    variances = np.linalg.eigvalsh(np.cov(flat.T, bias=True))[::-1]
    assert np.allclose((found**2).sum(axis=1), variances)


def test_there_are_no_more_than_the_examples_tell():
    line = np.outer([-1.0, 0.0, 1.0, 2.0], np.ones(50))
    _, weights, found = principal_components(line, 10)
    assert weights.shape == (4, 1) and found.shape == (1, 50)
