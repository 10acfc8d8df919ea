"""Every registered prior walks into this suite by itself, untrained and with weights moved."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar.distributions.kl import kl
from logvar.models.base import in_groups
from logvar.posteriors.diagonal import Diagonal
from logvar.priors import PRIORS, Encode, EncoderInputs, Prior

NAMES = PRIORS.names()
TEXTS = [
    *NAMES,
    "mixture(components=1)",
    "mixture(components=3, scale=softplus)",
    "vamp(components=4)",
    "conditional(hidden=[4], scale=softplus)",
]
CONDITION = np.asarray([0.0, 1.0, -0.4], np.float32)
"""A level of two, and a number."""


def code(x):
    """The code of an encoder of three features, for priors that read it."""
    latent_dim = 2
    return {"mean": x[:latent_dim], "raw": x[:latent_dim] / 3}


encode = Encode(code, Diagonal().distribution)


def inputs(seed=1):
    """Rows of three features as the encoder reads them; the seed chooses some."""
    rows = np.random.default_rng(7).normal(size=(200, 3))

    def some(count):
        chosen = np.random.default_rng(seed).choice(len(rows), count, replace=False)
        return jnp.asarray(rows[chosen], jnp.float32)

    return EncoderInputs((3,), False, len(rows), some, len(CONDITION))


def built(text, latent_dim, moved=False):
    prior = logvar.priors.get(text).build(latent_dim, jax.random.key(1), inputs())
    dtype = jnp.zeros(()).dtype
    rng = np.random.default_rng(2)

    def change(a):
        shift = float(moved) * 0.4 * rng.normal(size=a.shape)
        if a.ndim == 3:  # layers of a flow, whose density would leave the grid below
            shift /= a.shape[-2] * a.shape[-1]
        return a.astype(dtype) + jnp.asarray(shift, dtype)

    return jax.tree.map(lambda a: change(a) if eqx.is_inexact_array(a) else a, prior)


def given(text, latent_dim, moved=False):
    return at_condition(built(text, latent_dim, moved), latent_dim)


def at_condition(prior, latent_dim):
    return prior.given(latent_dim, encode, CONDITION if prior.is_conditional else None)


@pytest.mark.parametrize("text", TEXTS)
def test_text_builds_the_same_prior_again(text):
    spec = logvar.priors.get(text)
    described = logvar.priors.describe(spec)
    assert logvar.priors.describe(logvar.priors.get(described)) == described
    assert type(logvar.priors.get(described)) is type(spec)
    assert not [leaf for leaf in jax.tree.leaves(spec) if eqx.is_array(leaf)]


@pytest.mark.parametrize("text", TEXTS)
def test_it_is_built_from_its_key_and_rows_alone(text):
    one, same, other = (
        logvar.priors.get(text).build(2, jax.random.key(seed), inputs(seed)) for seed in (1, 1, 2)
    )
    assert isinstance(one, Prior)
    arrays = [jax.tree.leaves(eqx.filter(p, eqx.is_inexact_array)) for p in (one, same, other)]
    for a, b in zip(*arrays[:2], strict=True):
        np.testing.assert_array_equal(a, b)
    differ = [not np.array_equal(a, b) for a, b in zip(arrays[0], arrays[2], strict=True)]
    starts_at_zero = all(not leaf.any() for leaf in arrays[0])
    assert any(differ) or starts_at_zero


@pytest.mark.parametrize("moved", [False, True], ids=["as-it-starts", "moved"])
@pytest.mark.parametrize("text", TEXTS)
def test_it_integrates_to_one_and_its_draws_have_its_density(text, moved, float64):
    """For two latents that are real vectors: mean, covariance and entropy on a grid, and of draws."""
    p = given(text, 2, moved)
    if logvar.priors.get(text).support not in ("real", None):
        pytest.skip("its z are no real vectors")
    axis = np.linspace(-11, 11, 301)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    log_prob = jax.jit(jax.vmap(p.log_prob))
    log_p = np.asarray(log_prob(jnp.asarray(grid)))
    weight = np.exp(log_p) * (axis[1] - axis[0]) ** 2
    np.testing.assert_allclose(weight.sum(), 1, rtol=1e-6)
    keys = jax.random.split(jax.random.key(3), 20_000)
    z = np.asarray(jax.jit(jax.vmap(p.sample))(keys))
    of_draws = np.asarray(log_prob(jnp.asarray(z)))
    for name, on_grid, drawn in (
        ("mean", grid, z),
        ("products", grid[:, :1] * grid, z[:, :1] * z),
        ("squares", grid**2, z**2),
        ("log p", log_p[:, None], of_draws[:, None]),
    ):
        error = drawn.std(0) / np.sqrt(len(z))
        assert (np.abs(drawn.mean(0) - weight @ on_grid) < 5 * error).all(), name


@pytest.mark.parametrize("text", TEXTS)
def test_groups_add_up_and_gradients_are_finite(text):
    p = given(text, 2)
    z = jnp.asarray([0.3, -0.7], jnp.zeros(()).dtype)
    groups = p.log_prob_groups(z)
    assert groups.shape == (2 if p.by_latent else 1,)
    np.testing.assert_allclose(jnp.sum(groups), p.log_prob(z), rtol=1e-5)
    weights, rest = eqx.partition(built(text, 2), eqx.is_inexact_array)

    def log_p(weights, z):
        return at_condition(eqx.combine(weights, rest), 2).log_prob(z)

    gradient = jax.jit(jax.grad(log_p, argnums=(0, 1)))
    for far in (z, 1e4 * z):
        gradients = gradient(weights, far)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("text", TEXTS)
def test_it_works_under_every_posterior_family(text):
    """log q, log p and a closed form come in the same groups."""
    for posterior in logvar.posteriors.names():
        if logvar.priors.get(text).support not in (logvar.posteriors.get(posterior).support, None):
            continue
        p = given(text, 2)
        code = {
            head: jnp.full(size, 0.1)
            for head, size in logvar.posteriors.get(posterior).heads(2).items()
        }
        q = logvar.posteriors.get(posterior).build(2, jax.random.key(0)).distribution(code)
        z = jnp.asarray([0.2, 0.1])
        log_q, log_p = in_groups(q, q.log_prob_groups(z), p, p.log_prob_groups(z))
        assert log_q.shape == log_p.shape
        closed = kl(q, p)
        assert closed is None or closed.shape == log_q.shape
