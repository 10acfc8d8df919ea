"""Presets: the constants of their papers, and models that train."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar.assembly import skeleton
from logvar.assembly.decisions import decide
from logvar.assembly.parts import specs
from logvar.assembly.reading import units_of
from logvar.catalogue.parts import preset_lines
from logvar.models.batch import Batch
from logvar.recipe import ABOUT, PRESETS, preset
from logvar.training import schedules
from tests.contracts.test_combinations import ROWS, traced

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 28, 28), dtype=np.uint8)
SHARED = {  # latents, batch, epochs, patience
    "iwae": (50, 20, 3280, 0),
    "beta-tcvae": (10, 2048, 50, 0),
    "vampprior": (40, 100, 2000, 50),
    "s-vae": (11, 64, 1000, 50),
    "infovae": (20, 200, 33, 0),
    "pythae-vae": (10, 64, 100, 0),
}


@pytest.mark.parametrize("name", PRESETS)
def test_each_says_where_it_is_from_and_makes_a_model(name):
    assert all(ABOUT[name]) and ABOUT[name].source in "\n".join(preset_lines(None))
    recipe = preset(name).checked()
    decisions = decide(recipe, IMAGES, None, custom_networks=False)
    units = units_of(recipe, decisions, IMAGES)
    model = skeleton(recipe, decisions, IMAGES.shape[1:], units=units)
    objective = specs(recipe).objective
    batch = Batch(jnp.zeros((ROWS, 28, 28)), weight=jnp.ones(ROWS))
    (loss, terms), _, _ = traced(model, batch, objective, recipe.model.latent_dim)
    assert loss.shape == () and terms.kl.shape == (model.groups,)


@pytest.mark.parametrize("name", SHARED)
def test_the_constants_of_the_source(name):
    training = preset(name).training
    found = preset(name).model.latent_dim, training.batch_size, training.epochs, training.patience
    assert found == SHARED[name]


def test_iwae_lowers_its_rate_by_a_seventh_of_a_decade():
    """10^(−i/7)/1,000 for 3^i epochs, i = 0 … 7 (Burda et al. 2016, section 5)."""
    recipe = preset("iwae")
    assert recipe.training.epochs == sum(3**i for i in range(8))
    schedule = schedules.get(recipe.training.learning_rate)
    rates = schedule.rates(schedule.rate, schedules.Length(recipe.training.epochs, 10))
    ends = np.cumsum([3**i for i in range(8)])
    for i, end in enumerate(ends):
        for epoch in (end - 3**i, end - 1):
            rate = rates(jnp.asarray(10 * epoch, jnp.int32))
            np.testing.assert_allclose(rate, 1e-3 * 10 ** (-i / 7), rtol=1e-5)
    assert recipe.training.optimizer == "adam(eps=1e-4)"
    assert specs(recipe).objective.samples == 50


def test_vampprior_keeps_the_log_variance_between_minus_6_and_2():
    parts = specs(preset("vampprior"))
    raws = jnp.array([-9.0, -6.0, 0.3, 2.0, 5.0])
    found = 2 * parts.posterior.scale.log_sigma(raws)
    np.testing.assert_allclose(found, [-6, -6, 0.3, 2, 2], atol=1e-6)
    assert parts.prior.components == 500 and parts.objective.warmup == 100
    assert preset("vampprior").training.learning_rate == 5e-4


def test_s_vae_has_a_concentration_of_softplus_plus_one():
    parts = specs(preset("s-vae"))
    raws = jnp.array([-5.0, 0.0, 4.0])
    np.testing.assert_allclose(
        parts.posterior.scale.sigma(raws), jax.nn.softplus(raws) + 1, rtol=1e-6
    )
    assert logvar.posteriors.describe(parts.posterior).startswith("power-spherical")
    assert logvar.priors.describe(parts.prior) == "uniform-sphere"
    assert "power spherical" in ABOUT["s-vae"].differs and "von Mises" in ABOUT["s-vae"].differs
    assert (parts.network.hidden, parts.objective.warmup) == ((256, 128), 100)


@pytest.mark.parametrize(
    ("name", "activation", "initialization"),
    [
        ("iwae", "tanh", "glorot"),
        ("beta-tcvae", "relu", "pytorch"),
        ("vampprior", "silu", "he"),
        ("s-vae", "relu", "glorot"),
        ("pythae-vae", "relu", "pytorch"),
    ],
)
def test_networks_start_and_bend_as_their_sources_do(name, activation, initialization):
    network = specs(preset(name)).network
    assert (network.activation, network.initialization) == (activation, initialization)


def test_infovae_has_the_kernel_and_the_weight_of_its_code():
    """Its loss is mean((x − x̂)²) + MMD² with the kernel exp(−mean((a − b)²)/D)."""
    objective = specs(preset("infovae")).objective
    a, b = np.random.default_rng(1).normal(size=(2, 5, 20)).astype(np.float32)
    theirs = np.exp(-np.mean((a[:, None] - b[None]) ** 2, -1) / 20)
    np.testing.assert_allclose(objective._kernel(jnp.asarray(a), jnp.asarray(b)), theirs, rtol=1e-5)
    assert objective.weight == 784 / 2 and objective.beta == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("floored(softplus, minimum=1)", 2.0),
        ("bounded(omega=0.5)", 0.25),
        ("clamped(log-std, low=-4, high=-2, hard=True)", np.exp(-3)),
        ("log-variance", 1.0),
    ],
)
def test_a_scale_that_does_not_reach_1_starts_inside_its_range(text, expected):
    scale = logvar.scales.get(text)
    assert scale.middle() == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(scale.raw(scale.middle()))
