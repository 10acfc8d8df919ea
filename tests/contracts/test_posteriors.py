"""Every registered posterior family walks into this suite by itself, under every scale."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar.assembly import build_model
from logvar.assembly.decisions import Decisions
from logvar.distributions.base import total
from logvar.models.batch import Batch
from logvar.posteriors import POSTERIORS
from logvar.randomness import Gaussian, Key, noise
from logvar.recipe import Recipe
from tests.cases import every_value_once, slow
from tests.contracts.test_scales import MAIN, PRESETS

NAMES = POSTERIORS.names()
PRIOR_ON = {"real": "standard", "sphere": "uniform-sphere"}
"""A prior on each set that z may lie in."""
SCALES = MAIN + PRESETS


def built(name, latent_dim=3, **settings):
    """The family with its weights, in the dtype in force."""
    posterior = logvar.posteriors.get(name, **settings).build(latent_dim, jax.random.key(5))
    dtype = jnp.zeros(()).dtype
    return jax.tree.map(lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a, posterior)


def some_code(posterior, latent_dim, rows=None, seed=0):
    """Encoder outputs of the right sizes, σ around 1."""
    rng = np.random.default_rng(seed)
    shape = () if rows is None else (rows,)
    code = {
        name: 0.5 * rng.normal(size=(*shape, size))
        for name, size in posterior.heads(latent_dim).items()
    }
    low, high = (float(np.max(bound)) for bound in posterior.scale.bounds)
    sigma = np.exp(0.3 * rng.normal(size=code["raw"].shape))
    inside = np.clip(sigma, low * 1.01 + 1e-3, min(high * 0.99, 1e3))
    code["raw"] = np.asarray(posterior.scale.raw(inside))
    return {name: jnp.asarray(value, jnp.zeros(()).dtype) for name, value in code.items()}


@pytest.mark.parametrize("name", NAMES)
def test_heads_begin_with_mean_and_raw(name):
    for latent_dim in (1, 2, 5):
        heads = logvar.posteriors.get(name).heads(latent_dim)
        assert list(heads)[:2] == ["mean", "raw"]
        assert all(isinstance(size, int) and size >= 0 for size in heads.values())
        assert heads["mean"] == latent_dim


@pytest.mark.parametrize("name", NAMES)
def test_noise_is_a_tree_of_known_leaves(name):
    posterior = logvar.posteriors.get(name)
    like = posterior.noise_like(3)
    assert jax.tree.leaves(like)
    assert all(isinstance(leaf, Gaussian | Key) for leaf in jax.tree.leaves(like))


@pytest.mark.parametrize(
    ("scale", "name"),
    every_value_once(MAIN, NAMES) + [slow(scale, name) for scale in PRESETS for name in NAMES],
)
def test_draw_density_and_groups_are_of_one_distribution(name, scale, float64):
    posterior = built(name, scale=scale)
    code = some_code(posterior, 3)
    eps = noise(posterior.noise_like(3), jax.random.key(1), (4,))

    def each(code, eps):
        q = posterior.distribution(code)
        z = q.draw(eps)
        return z, q.log_prob(z), q.log_prob_groups(z), q.log_prob_groups_of_noise(eps)

    eps = jax.tree.map(lambda leaf: leaf.astype(float) if eqx.is_inexact_array(leaf) else leaf, eps)
    z, log_q, groups, of_noise = jax.jit(jax.vmap(each, (None, 0)))(code, eps)
    by_latent = posterior.distribution(code).by_latent
    assert z.shape == (4, 3) and groups.shape == of_noise.shape == (4, 3 if by_latent else 1)
    assert np.ptp(np.asarray(z), axis=0).min() > 1e-6  # noise reaches every latent
    np.testing.assert_allclose(total(groups), log_q, rtol=1e-9)
    np.testing.assert_allclose(of_noise, groups, rtol=1e-7, atol=1e-9)
    assert posterior.embedding(code).shape == (3,)


@pytest.mark.parametrize("name", NAMES)
def test_the_density_integrates_to_one(name, float64):
    """For one and two latents that are real vectors, on a grid of 10 standard deviations."""
    posterior = logvar.posteriors.get(name)
    if posterior.support != "real":
        pytest.skip(f"its z lies on {posterior.support!r}")
    for latent_dim, points in ((1, 4001), (2, 401)):
        posterior = built(name, latent_dim)
        code = some_code(posterior, latent_dim)
        q = posterior.distribution(code)
        eps = noise(posterior.noise_like(latent_dim), jax.random.key(0), (4000,))
        eps = jax.tree.map(lambda e: e.astype(float) if eqx.is_inexact_array(e) else e, eps)
        z = np.asarray(jax.jit(jax.vmap(q.draw))(eps))
        axes = [
            m + np.linspace(-10, 10, points) * s for m, s in zip(z.mean(0), z.std(0), strict=True)
        ]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, latent_dim)
        cell = np.prod([axis[1] - axis[0] for axis in axes])
        density = np.exp(jax.jit(jax.vmap(q.log_prob))(jnp.asarray(grid)))
        np.testing.assert_allclose(density.sum() * cell, 1, rtol=1e-6)
        # The draws have the density's mean, so density and sampler are of one distribution.
        mean = (density[:, None] * grid).sum(0) * cell
        assert (np.abs(z.mean(0) - mean) < 5 * z.std(0) / np.sqrt(len(z))).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_for_narrow_and_wide_posteriors(name):
    posterior = built(name)
    eps = noise(posterior.noise_like(3), jax.random.key(1))

    @jax.jit
    @jax.grad
    def slope(code):
        q = posterior.distribution(code)
        return jnp.sum(q.log_prob_groups_of_noise(eps)) + jnp.sum(
            jnp.square(q.draw(eps) - jnp.arange(3.0))
        )

    for sigma in (1e-4, 1.0, 1e4):
        code = some_code(posterior, 3)
        code["raw"] = jnp.full_like(code["raw"], posterior.scale.raw(sigma))
        gradient = slope(code)
        assert set(gradient) == set(code)
        for head, values in gradient.items():
            assert np.isfinite(values).all() and np.any(values), head


@pytest.mark.parametrize("name", NAMES)
def test_a_run_starts_with_later_heads_at_0(name):
    prior = PRIOR_ON[logvar.posteriors.get(name).support]
    recipe = Recipe().replace(posterior=name, prior=prior, latent_dim=3)
    decisions = Decisions("normal", "mlp(hidden=[4])", 1.0, ())
    model = build_model(recipe, decisions, (5,))
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)), jnp.float32)
    code = jax.jit(jax.vmap(lambda x: model.encode(Batch(x))))(rows)
    assert set(code) == set(model.posterior.heads(3))
    assert np.ptp(np.asarray(code["mean"]), axis=0).min() > 1e-3
    for head in list(model.posterior.heads(3))[2:]:
        np.testing.assert_array_equal(code[head], 0, err_msg=head)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", SCALES)
def test_text_builds_the_same_family_again(name, scale):
    posterior = logvar.posteriors.get(name, scale=scale)
    text = logvar.posteriors.describe(posterior)
    again = logvar.posteriors.get(text)
    assert type(again) is type(posterior) and logvar.posteriors.describe(again) == text
    assert logvar.scales.describe(again.scale) == logvar.scales.describe(logvar.scales.get(scale))
