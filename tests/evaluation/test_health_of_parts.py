"""The doctor's checks of parts, each on a model with the fault and on one without it."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from logvar import scales
from logvar.distributions.mixture import NormalMixture
from logvar.evaluation.elbo import RowTerms
from logvar.evaluation.health import examine, free_bits
from logvar.evaluation.health_of_parts import components, concentration, encoder, warm_up
from logvar.likelihoods.bernoulli import Bernoulli
from logvar.models.vae import VAEModel
from logvar.objectives import get
from logvar.posteriors.diagonal import Diagonal
from logvar.priors.standard import Standard

LOG_STD = scales.get("log-std")
RNG = np.random.default_rng(0)


def row_terms(mean, raw, kl):
    zeros = np.zeros(len(mean))
    wide = [np.asarray(array, np.float32) for array in (kl, mean, raw)]
    return RowTerms(zeros, *wide, zeros)


def model():
    return VAEModel(abs, abs, Standard(), Bernoulli(), Diagonal(LOG_STD), 2)


def test_dead_components_are_counted_by_their_responsibility():
    means = np.array([[2.0, 0.0], [-2.0, 0.0], [40.0, 40.0]], np.float32)
    logits = np.log(np.array([0.5, 0.3, 0.2], np.float32))
    prior = NormalMixture(*map(jnp.asarray, (logits, means, np.zeros((3, 2), np.float32))), LOG_STD)
    z = (means[RNG.integers(2, size=200)] + RNG.normal(size=(200, 2))).astype(np.float32)
    joint = [w * stats.norm.pdf(z, m).prod(1) for w, m in zip([0.5, 0.3, 0.2], means, strict=True)]
    expected = np.transpose(joint / np.sum(joint, 0))
    for one, found in zip(z[:20], expected, strict=False):
        np.testing.assert_allclose(prior.responsibilities(jnp.asarray(one)), found, atol=1e-5)
    finding = components(prior, z)
    assert not finding.fine and "1 of 3 components of the prior are dead (2)" in finding.text
    assert "components=2" in finding.text
    everywhere = np.concatenate([z, means[2:].repeat(20, 0)])
    assert components(prior, everywhere).fine


def test_an_encoder_that_ignores_x():
    same = row_terms(np.ones((50, 2)), np.full((50, 2), -1.0), np.ones((50, 2)))
    assert (
        "ignores x" in encoder(model(), same).text and "KL of 2 nats" in encoder(model(), same).text
    )
    by_mean = same._replace(mean=RNG.normal(size=(50, 2)).astype(np.float32))
    by_sigma = same._replace(raw=RNG.normal(size=(50, 2)).astype(np.float32))
    collapsed = same._replace(kl=np.zeros((50, 2), np.float32))
    assert all(encoder(model(), terms) is None for terms in (by_mean, by_sigma, collapsed))


def test_a_warm_up_that_did_not_end():
    found = warm_up(get("elbo(beta=4, warmup=20)"), 5)
    assert not found.fine and "β reached 1 and not 4" in found.text
    assert warm_up(get("elbo(beta=4, warmup=20)"), 20) is None
    assert warm_up(get("elbo"), 1) is None


def test_a_concentration_at_its_ends():
    assert concentration(np.array([[0.5], [300.0]])).fine
    found = concentration(np.array([[0.5], [2e4], [1e-5], [3.0]]))
    assert not found.fine and "50.0% outside" in found.text
    assert "clamped(log-std, low=-2, high=7)" in found.text
    np.testing.assert_allclose(
        scales.get("clamped(log-std, low=-2, high=7)").bounds, np.exp([-2, 7]), rtol=1e-3
    )


def test_collapse_names_the_free_bits():
    nothing = row_terms(np.zeros((50, 4)), np.zeros((50, 4)), np.full((50, 4), 1e-4))
    found = examine(LOG_STD, nothing, None, learning_rate=1e-3, optimizer="adam")[0]
    assert not found.fine and "free_bits=0.35" in found.text
    assert get("elbo(free_bits=0.35)").free_bits == 0.35
    # One group for all latents, and a KL that is above it already.
    assert free_bits(np.array([1e-4]), 4) == pytest.approx(4 * 0.5 * np.log(2), rel=0.02)
    assert free_bits(np.full(2, 3.0), 2) == 6
