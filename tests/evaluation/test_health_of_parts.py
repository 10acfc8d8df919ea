"""The doctor's checks of parts, each on a model with the fault and on one without it."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from logvar import scales
from logvar.distributions.aggregate import Aggregate
from logvar.distributions.mixture import NormalMixture
from logvar.evaluation.elbo import RowTerms
from logvar.evaluation.health import examine, free_bits
from logvar.evaluation.health_of_parts import (
    capacity,
    components,
    concentration,
    encoder,
    warm_up,
)
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
    assert not found.fine and "takes 20 epochs and training ends after 5: β reaches 1" in found.text
    assert warm_up(get("elbo(beta=4, warmup=20)"), 20) is None
    assert warm_up(get("elbo"), 1) is None


def test_a_capacity_or_a_cycle_that_did_not_end():
    found = warm_up(get("elbo(capacity=8, warmup=20)"), 5)
    assert not found.fine and "the capacity reaches 2 nats" in found.text
    found = warm_up(get("elbo(beta=2, warmup=4, cycles=3)"), 18)
    assert "the 3 cycles of β take 20 epochs" in found.text
    assert "in cycle 3, where β is 1; train longer" in found.text
    assert warm_up(get("elbo(beta=2, warmup=4, cycles=3)"), 20) is None


def test_a_kl_that_misses_its_capacity():
    terms = row_terms(np.zeros((50, 2)), np.zeros((50, 2)), np.full((50, 2), 4.1))
    held = capacity(get("elbo(capacity=8)"), terms)
    assert held.fine and held.text == "KL 8.2 nats, held to 8"
    for wanted in (16, 4):
        missed = capacity(get(f"elbo(capacity={wanted})"), terms)
        assert not missed.fine and "never got there; give a gamma above 1000" in missed.text
    assert capacity(get("elbo"), terms) is capacity(get("iwae"), terms) is None


def test_unused_pseudo_inputs():
    """Codes of a vamp prior: three used ones, one far away."""
    codes = {
        "mean": jnp.asarray([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0], [50.0, 50.0]]),
        "raw": jnp.full((4, 2), -1.0),
    }
    prior = Aggregate(codes, Diagonal(LOG_STD).distribution)
    near = np.asarray(codes["mean"])[RNG.integers(3, size=90)]
    z = (near + 0.3 * RNG.normal(size=near.shape)).astype(np.float32)
    joint = stats.norm.pdf(z[:9, None], np.asarray(codes["mean"]), np.exp(-1)).prod(-1)
    found = [prior.responsibilities(jnp.asarray(one)) for one in z[:9]]
    np.testing.assert_allclose(found, joint / joint.sum(1, keepdims=True), atol=1e-5)
    finding = components(prior, z)
    assert not finding.fine and "1 of 4 pseudo-inputs of the prior are unused (3)" in finding.text
    assert finding.what == "pseudo-inputs" and "prior='vamp(components=3)' would do" in finding.text
    everywhere = np.concatenate([z, np.full((9, 2), 50.0, np.float32)])
    assert components(prior, everywhere).fine
    few = components(prior, z[:20])
    assert few.fine and "too few to tell" in few.text


def test_a_concentration_at_its_ends():
    assert concentration(np.array([[0.5], [300.0]]), LOG_STD).fine
    found = concentration(np.array([[0.5], [2e4], [1e-5], [3.0]]), LOG_STD)
    assert not found.fine and "50.0% outside" in found.text
    assert "clamped(log-std, low=-2, high=7)" in found.text
    np.testing.assert_allclose(
        scales.get("clamped(log-std, low=-2, high=7)").bounds, np.exp([-2, 7]), rtol=1e-3
    )


def test_a_concentration_at_a_bound_of_its_scale():
    floored = scales.get("floored(softplus, minimum=1)")
    assert concentration(np.array([[1.2], [300.0]]), floored).fine
    found = concentration(np.array([[1.001], [300.0]]), floored)
    assert not found.fine
    assert "50.0% at the smallest that floored(softplus, minimum=1.0) reaches, 1:" in found.text
    clamped = scales.get("clamped(log-std, low=-2, high=4, hard=True)")
    found = concentration(np.array([[3.0], [54.59]]), clamped)
    assert not found.fine and "the largest that" in found.text and "no narrower" in found.text


def test_collapse_on_a_sphere_is_judged_by_the_kl():
    directions = RNG.normal(size=(50, 100))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    settings = {"learning_rate": 1e-3, "optimizer": "adam", "support": "sphere"}
    used = row_terms(directions, np.ones((50, 1)), np.full((50, 1), 3.0))
    assert examine(LOG_STD, used, None, **settings)[0].fine
    uniform = used._replace(kl=np.full((50, 1), 1e-4, np.float32))
    found = examine(LOG_STD, uniform, None, **settings)[0]
    assert not found.fine and "uniform on the sphere" in found.text
    bits = free_bits(np.array([1e-4]), 99)
    assert f"free_bits={bits:g}" in found.text and get(f"elbo(free_bits={bits:g})").free_bits > 30


def test_collapse_names_the_free_bits():
    nothing = row_terms(np.zeros((50, 4)), np.zeros((50, 4)), np.full((50, 4), 1e-4))
    found = examine(LOG_STD, nothing, None, learning_rate=1e-3, optimizer="adam")[0]
    assert not found.fine and "free_bits=0.35" in found.text
    assert get("elbo(free_bits=0.35)").free_bits == 0.35
    # One group for all latents, and a KL that is above it already.
    assert free_bits(np.array([1e-4]), 4) == pytest.approx(4 * 0.5 * np.log(2), rel=0.02)
    assert free_bits(np.full(2, 3.0), 2) == 6
