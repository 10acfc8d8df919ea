"""Every posterior × prior × objective × likelihood traces, or is refused in one line.

Loss and gradient are traced by `jax.eval_shape`, which computes and compiles nothing. New parts walk
into this suite by their registries.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar.assembly import skeleton
from logvar.assembly.decisions import Decisions
from logvar.assembly.parts import check_fit, specs
from logvar.data.table.units import TableUnits
from logvar.models.batch import Batch
from logvar.objectives import OBJECTIVES
from logvar.posteriors import POSTERIORS
from logvar.priors import PRIORS
from logvar.randomness import noise
from logvar.recipe import Recipe
from logvar.trainable import trainable
from tests.cases import slow
from tests.data.table.columns import COLUMNS, table
from tests.objectives.tiny import moment

LATENTS, ROWS = 3, 4
SMALL = {"mixture": "mixture(components=2)", "vamp": "vamp(components=2)"}
POSTERIOR_TEXTS = POSTERIORS.names()
PRIOR_TEXTS = [SMALL.get(name, name) for name in PRIORS.names()]
OBJECTIVE_TEXTS = [*OBJECTIVES.names(), "iwae(gradient=stl)", "iwae(gradient=dreg)"]
FITTING = {"real": ("standard", "diagonal"), "sphere": ("uniform-sphere", "power-spherical")}
"""A prior and a posterior on each set."""


@functools.cache
def data():
    """(decisions, units, shape of an example, batch) by likelihood."""
    rng = np.random.default_rng(0)
    network, weight = "mlp(hidden=[4])", jnp.ones(ROWS)
    rows = jnp.asarray(rng.normal(size=(ROWS, 5)), jnp.float32)
    cells = table()
    units = TableUnits.of_cells(cells, COLUMNS)
    values, observed = units.to_model(cells[:ROWS])
    with_holes = Batch(
        jnp.asarray(values), jnp.asarray(np.repeat(observed[..., None], 6, -1)), weight=weight
    )
    bits = (rows > 0).astype(jnp.float32)
    return {
        "bernoulli": (Decisions("bernoulli", network, 1.0, ()), None, (5,), Batch(bits, weight=weight)),
        "normal": (Decisions("normal", network, 1.0, ()), None, (5,), Batch(rows, weight=weight)),
        "mixed": (
            Decisions("mixed", network, 1.0, (), missing=True), units, (len(COLUMNS),), with_holes,
        ),
    }  # fmt: skip


def model_of(posterior, prior, likelihood):
    decisions, units, shape, batch = data()[likelihood]
    recipe = Recipe().replace(
        posterior=posterior, prior=prior, likelihood=likelihood, latent_dim=LATENTS
    )
    return skeleton(recipe, decisions, shape, units=units), batch


def traced(model, batch, objective, latent_dim=LATENTS):
    """The shapes of (loss, terms), of the gradient and of the weights."""

    def value_and_gradient(arrays, static, batch):
        model = eqx.combine(arrays, static)
        params, rest = eqx.partition(model, trainable(model))
        eps = noise(model.noise_like(), jax.random.key(0), (ROWS, objective.samples))

        def loss(params):
            at = moment(objective=objective, latent_dim=latent_dim)
            return objective(eqx.combine(params, rest), batch, eps, at)

        return *jax.value_and_grad(loss, has_aux=True)(params), params

    is_array = lambda leaf: eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)  # noqa: E731
    arrays, static = eqx.partition(model, is_array)
    return jax.eval_shape(lambda a, b: value_and_gradient(a, static, b), arrays, batch)


def traced_or_refused(model, batch, objective, recipe):
    try:
        check_fit(specs(recipe))
        return traced(model, batch, objective)
    except logvar.LogvarError as error:
        return str(error)


LIKELIHOODS = ("bernoulli", "normal", "mixed")
PAIRS = [(posterior, prior) for posterior in POSTERIOR_TEXTS for prior in PRIOR_TEXTS]
CASES = [(*pair, (LIKELIHOODS[number % 3],)) for number, pair in enumerate(PAIRS)]
"""One likelihood for each pair, in turn."""
CASES += [slow(*pair, LIKELIHOODS) for pair in PAIRS]


@pytest.mark.parametrize(("posterior", "prior", "likelihoods"), CASES)
def test_every_combination_traces_or_is_refused_in_one_line(posterior, prior, likelihoods):
    sets = logvar.posteriors.get(posterior).support, logvar.priors.get(prior).support
    for likelihood in likelihoods:
        if sets[1] not in (sets[0], None):
            with pytest.raises(logvar.LogvarError, match="choose two on the same set") as info:
                model_of(posterior, prior, likelihood)
            assert "\n" not in str(info.value)
            assert all(fit in str(info.value) for fit in (FITTING[sets[0]][0], FITTING[sets[1]][1]))
            continue
        model, batch = model_of(posterior, prior, likelihood)
        for text in OBJECTIVE_TEXTS:
            objective = logvar.objectives.get(text)
            if objective.sums_out_labels:
                continue  # of models that learn a label: tests/models/test_labelled.py
            recipe = Recipe().replace(posterior=posterior, prior=prior, objective=text)
            found = traced_or_refused(model, batch, objective, recipe)
            if isinstance(found, str):
                assert "\n" not in found, text
                continue
            (loss, terms), gradient, weights = found
            assert loss.shape == terms.log_likelihood.shape == (), text
            assert terms.kl.shape == (model.groups,), text
            shapes = [
                [leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (gradient, weights)
            ]
            assert shapes[0] == shapes[1] != [], text
