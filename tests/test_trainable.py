"""What of a model trains: every built-in part, after two steps of training.

The leaves that train are listed here by hand, beside those of the networks, so that neither a
weight that stays where it was nor a setting that moves goes unnoticed.
"""

import equinox as eqx
import jax
import numpy as np
import pytest

import logvar
from logvar import assembly
from logvar.assembly import build_run
from logvar.data.conditions import Conditions, Told
from logvar.likelihoods.noise import MODES
from logvar.recipe import Recipe
from logvar.trainable import frozen, trainable, without_settings
from logvar.training.loop import train
from logvar.training.pace import Pace
from tests.cases import slow

ROWS = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
CODES = np.random.default_rng(1).integers(0, 2, size=(8, 3)).astype(np.float32)
COUNTS = ("poisson", "negative-binomial", "zero-inflated-negative-binomial")
TABLES = {
    "bernoulli": CODES,
    "continuous-bernoulli": CODES / 2,
    "categorical": CODES,
    "discretized-logistic": CODES,
}
TABLES |= dict.fromkeys(COUNTS, CODES + 1)
DISPERSION = ".likelihood.dispersion.raw"
NOISE = ".likelihood.noise.raw"
LEARNED = {"shared", "per-feature", "optimal"}
WITH_NOISE = [n for n in logvar.likelihoods.names() if hasattr(logvar.likelihoods.get(n), "noise")]
QUICK = {f"normal(noise={mode})" for mode in ("fixed", "shared", "optimal")}
FLOW = {"latents", "context", "bias", "shift", "raw", "shift_bias", "raw_bias"}
OF_PRIOR = {
    "standard": set(),
    "mixture": {".prior.logits", ".prior.means", ".prior.raws"},
    "vamp": {".prior.raw"},
    "flow": {f".prior.flow.{name}" for name in FLOW - {"context"}},
    "conditional": {".prior.last", ".prior.layers[0][0]", ".prior.layers[0][1]"},
    "uniform-sphere": set(),
}
SMALL = {
    "mixture": "mixture(components=2)",
    "vamp": "vamp(components=4)",
    "conditional": "conditional(hidden=[2])",
}
ON_SPHERE = {"prior": "uniform-sphere", "posterior": "power-spherical"}


def accepted(likelihood, mode):
    try:
        logvar.likelihoods.get(likelihood, noise=mode)
    except logvar.LogvarError:
        return False
    return True


LIKELIHOODS = [
    (f"{name}(noise={mode})", {NOISE} if mode in LEARNED else set())
    for name in WITH_NOISE
    for mode in MODES
    if accepted(name, mode)
] + [
    (name, {DISPERSION} if "binomial" in name else set())
    for name in logvar.likelihoods.names()
    if name not in [*WITH_NOISE, "mixed"]
]


def test_the_cases_cover_every_likelihood_and_mode():
    assert set(OF_PRIOR) == set(logvar.priors.names())
    refused = [(n, m) for n in WITH_NOISE for m in MODES if not accepted(n, m)]
    assert refused == [("student-t", "optimal"), ("discretized-logistic", "optimal")]


def arrays(model):
    """Its arrays by path, networks apart."""
    found = jax.tree_util.tree_leaves_with_path(model)
    return {jax.tree_util.keystr(path): np.asarray(a) for path, a in found if eqx.is_array(a)}


def trained(rows, **settings):
    """(before, after two steps of training), with a held-out set as users have one."""
    recipe = Recipe().replace(
        latent_dim=2,
        network="mlp(hidden=[3])",
        epochs=2,
        batch_size=8,
        **settings,
    )
    told = None
    if "conditional" in settings.get("prior", ""):
        form = Conditions.of(["a", "b"] * 4)
        told = Told(form, form.matrix(["a", "b"] * 4))
    run = build_run(recipe.checked(), assembly.TrainingData(rows, told=told))
    args = run.model, run.rows, run.validation, run.objective, run.plan, Pace()
    return run.model, train(*args, coordinates=run.coordinates).model


def check(rows, learned, **settings):
    before, after = trained(rows, **settings)
    one, other = arrays(before), arrays(after)
    assert one.keys() == other.keys()
    changed = {path for path in one if not np.array_equal(one[path], other[path])}
    networks = {path for path in one if path.startswith((".encoder", ".decoder"))}
    assert changed == networks | learned
    marked = jax.tree_util.tree_leaves_with_path(trainable(before))
    assert {jax.tree_util.keystr(path) for path, trains in marked if trains} == changed


@pytest.mark.parametrize(
    ("likelihood", "learned"),
    [
        case
        if case[0] in QUICK or ("(" not in case[0] and case[0] not in COUNTS[:2])
        else slow(*case)
        for case in LIKELIHOODS
    ],
)
def test_weights_of_likelihoods_train_and_their_settings_do_not(likelihood, learned):
    check(TABLES.get(likelihood.split("(")[0], ROWS), learned, likelihood=likelihood)


@pytest.mark.parametrize("prior", logvar.priors.names())
def test_weights_of_priors_train(prior):
    learned = {NOISE} | OF_PRIOR[prior]
    settings = ON_SPHERE if prior == "uniform-sphere" else {"prior": SMALL.get(prior, prior)}
    check(ROWS, learned, likelihood="normal", **settings)


@pytest.mark.parametrize("posterior", logvar.posteriors.names())
def test_posteriors_train_through_the_encoder_and_their_own_weights_alone(posterior):
    """Bounds of a scale that differ by latent are arrays, and settings."""
    scale = "clamped(log-std, low=[-3, -2], high=[3, 2])"
    settings = {"posterior": posterior, "scale": scale, "initial_sigma": "as-is"}
    learned = {NOISE}
    if posterior == "power-spherical":  # one κ for all latents
        settings |= ON_SPHERE
        with pytest.raises(logvar.LogvarError, match="one κ for all latents.*low=.-3.0, -2.0"):
            trained(ROWS, likelihood="normal", **settings)
        settings["scale"] = "clamped(log-std, low=-3, high=3)"
    if posterior == "flow":
        learned |= {f".posterior.flow.{name}" for name in FLOW}
    check(ROWS, learned, likelihood="normal", **settings)


def test_bounds_of_a_prior_s_scale_are_settings():
    scale = "clamped(log-std, low=[-3, -3], high=[3, 3])"
    prior = f"mixture(components=2, scale={scale})"
    check(ROWS, {NOISE} | OF_PRIOR["mixture"], likelihood="normal", prior=prior)


class Inner(eqx.Module):
    weight: jax.Array
    fixed: jax.Array = frozen()


class Still(eqx.Module):
    weight: jax.Array
    trains = False


class Settings(eqx.Module):
    value: jax.Array
    is_settings = True


def test_what_is_declared_frozen_does_not_train_wherever_it_stands():
    a = np.ones(2, np.float32)
    arrays = jax.numpy.asarray(a)
    tree = {
        "list": [Inner(arrays, arrays), arrays],
        "still": Still(arrays),
        "settings": (Settings(arrays), 3, "text"),
        "integers": jax.numpy.arange(2),
    }
    marks = trainable(tree)
    assert marks["list"][0].weight is True and marks["list"][0].fixed is False
    assert marks["list"][1] is True
    assert not jax.tree.leaves(marks["still"])[0] and marks["integers"] is False
    assert not any(jax.tree.leaves(marks["settings"]))
    of_file, of_recipe = without_settings(tree)
    assert of_file["settings"][0].value is None and of_recipe["settings"][0].value is arrays
    assert of_file["still"].weight is arrays and of_file["list"][0].fixed is arrays
