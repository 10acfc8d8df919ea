"""Every posterior × prior × objective × likelihood traces, or is refused in one line; a cover of
all pairs of two of them is trained.

Loss and gradient are traced by `jax.eval_shape`, which computes and compiles nothing. New parts walk
into this suite by their registries.
"""

import collections
import dataclasses
import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar.assembly import skeleton
from logvar.assembly.decisions import Decisions
from logvar.assembly.parts import Specs, check_fit, specs
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
SIZE = 2
"""Of a condition, for priors that depend on one."""
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
    size = SIZE if logvar.priors.get(prior).is_conditional else 0
    if size:
        batch = dataclasses.replace(batch, condition=jnp.ones((ROWS, size)))
    return skeleton(recipe, decisions, shape, units=units, condition_size=size), batch


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
TRACED = tuple(t for t in OBJECTIVE_TEXTS if not logvar.objectives.get(t).sums_out_labels)
"""The others are of models that learn a label: tests/models/test_labelled.py."""
PAIRS = [(posterior, prior) for posterior in POSTERIOR_TEXTS for prior in PRIOR_TEXTS]


@pytest.mark.parametrize(("posterior", "prior"), PAIRS)
def test_every_combination_traces_or_is_refused_in_one_line(posterior, prior):
    sets = logvar.posteriors.get(posterior).support, logvar.priors.get(prior).support
    for likelihood in LIKELIHOODS:
        if sets[1] not in (sets[0], None):
            with pytest.raises(logvar.LogvarError, match="choose two on the same set") as info:
                model_of(posterior, prior, likelihood)
            assert "\n" not in str(info.value)
            assert all(fit in str(info.value) for fit in (FITTING[sets[0]][0], FITTING[sets[1]][1]))
            continue
        model, batch = model_of(posterior, prior, likelihood)
        for text in TRACED:
            objective = logvar.objectives.get(text)
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


TRAINED = [text for text in OBJECTIVE_TEXTS if text not in ("labelled", "iwae(gradient=stl)")]
KINDS = POSTERIOR_TEXTS, PRIOR_TEXTS, TRAINED, LIKELIHOODS
QUICK = 10
"""How many of the trained combinations `make test` runs."""


def settings_of(case):
    return dict(zip(("posterior", "prior", "objective", "likelihood"), case, strict=True))


def pairs_of(case):
    return set(itertools.combinations(enumerate(case), 2))


def refusal(posterior, prior, objective, likelihood):
    """The line with which parts are refused; None if they fit."""
    get = (logvar.posteriors.get, logvar.priors.get, logvar.objectives.get)
    parts = [of(text) for of, text in zip(get, (posterior, prior, objective), strict=True)]
    try:
        check_fit(Specs(parts[0], parts[1], None, parts[2], None))
    except logvar.LogvarError as error:
        return str(error)
    return None


def covering(cases):
    """Cases that have every pair of values: each has most pairs that none before it has, and of
    those the values that came least."""
    left, chosen, used = set().union(*map(pairs_of, cases)), [], collections.Counter()
    while left:
        new = {case: len(pairs_of(case) & left) for case in cases}
        most = [case for case in cases if new[case] == max(new.values())]
        chosen.append(min(most, key=lambda case: sum(used[value] for value in enumerate(case))))
        left -= pairs_of(chosen[-1])
        used.update(enumerate(chosen[-1]))
    return chosen


FITS = {case: refusal(*case) for case in itertools.product(*KINDS)}
COVER = covering([case for case, line in FITS.items() if line is None])


def test_the_cover_has_every_pair_that_fits_and_little_else():
    fitting = [case for case, line in FITS.items() if line is None]
    assert set().union(*map(pairs_of, COVER)) == set().union(*map(pairs_of, fitting))
    assert 45 < len(COVER) < 80
    quick = [set(values) for values in zip(*COVER[:QUICK], strict=True)]
    assert [len(values) for values in quick] == [5, 6, QUICK, 3]


def rows_for(likelihood):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(16, 4)).astype(np.float32)
    if likelihood == "bernoulli":
        return (rows > 0).astype(np.float32)
    if likelihood == "mixed":
        rows[:, 0] = rng.integers(3, size=16)
        rows[::5, 1] = np.nan
    return rows


def of_case(case):
    settings = settings_of(case)
    small = {"network": "mlp(hidden=[4])", "epochs": 2, "batch_size": 8, "validation_fraction": 0.0}
    rows, told = rows_for(settings["likelihood"]), {}
    if logvar.priors.get(settings["prior"]).is_conditional:
        told = {"condition": np.linspace(-1, 1, 2 * len(rows)).reshape(-1, 2)}
    return logvar.VAE(LATENTS, **small, **settings), rows, told


@pytest.mark.parametrize(
    "case", [case if i < QUICK else slow(case) for i, case in enumerate(COVER)], ids=" ".join
)
def test_a_cover_of_all_pairs_trains(case):
    vae, rows, told = of_case(case)
    history = vae.fit(rows, **told).history_
    assert len(history) == 2
    for epoch in history:
        assert np.isfinite([epoch["loss"], *epoch["train"].values()]).all()
    assert history[0]["loss"] != history[1]["loss"]


def test_what_does_not_fit_is_refused_in_one_line_before_training():
    seen = set()
    for case, line in FITS.items():
        if line is None or line in seen:
            continue
        seen.add(line)
        vae, rows, told = of_case(case)
        with pytest.raises(logvar.LogvarError) as raised:
            vae.fit(rows, **told)
        assert str(raised.value) == line and "\n" not in line
    assert len(seen) > 10
