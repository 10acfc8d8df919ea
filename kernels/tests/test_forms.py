"""What logvar asks for and what it gets: forms of the same names, used where they are active."""

import inspect
from inspect import signature

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from logvar_kernels import forms, library
from logvar_kernels.forms import Forms
from sharing import on_supported_jax

from logvar import assembly
from logvar.backend import compiling, extension
from logvar.backend.compiling import Compiled
from logvar.backend.precision import Precision
from logvar.data.sources import load
from logvar.evaluation.elbo import HeldOut
from logvar.models.batch import Batch
from logvar.recipe import Recipe
from logvar.training.fleet import members
from logvar.training.fleet.members import Member
from logvar.training.schedules import Length
from logvar.training.step import Epoch

pytestmark = on_supported_jax


def operations(extension_class):
    methods = dict(inspect.getmembers(extension_class, inspect.isfunction))
    return {name: m for name, m in methods.items() if name not in ("__init__", "why_inert")}


def test_every_form_is_of_an_operation_that_logvar_asks_for():
    """One that is renamed on one side only would never be used, without an error."""
    asked, given = operations(extension.Extension), operations(Forms)
    assert asked.keys() == given.keys()
    for name, form in given.items():
        assert form is not asked[name], name
        assert list(signature(form).parameters) == list(signature(asked[name]).parameters), name


def test_logvar_finds_the_package():
    """Installed, by its entry point."""
    named = f"{Forms.name} {Forms.version}"
    assert extension.description().startswith(f"{named}, ")
    assert extension.active() == (named if library.why_not() is None else "none")


def test_programs_with_products_in_bfloat16_keep_the_library(traced):
    """XLA's own products, which the options choose, would compute them in float32."""
    assert Forms().compiler_options([None, Precision.FLOAT32, 1.0]) == forms._SUMS_ONLY
    assert Forms().compiler_options([None, Precision.BFLOAT16]) is None


def test_a_program_is_compiled_with_the_options(traced, monkeypatch):
    chosen = []
    jitted = jax.jit
    monkeypatch.setattr(
        compiling.jax, "jit",
        lambda f, compiler_options=None, **how: chosen.append(compiler_options) or jitted(f, **how),
    )  # fmt: skip
    function = Compiled(lambda x, precision: x)
    function(jnp.ones(2), Precision.FLOAT32)
    function(jnp.ones(2), {"within": [Precision.BFLOAT16]})
    assert chosen == [forms._SUMS_ONLY, None]


def test_the_options_are_those_of_this_xla():
    """One that XLA does not know is an error for every program."""
    assert float(jax.jit(lambda x: x @ x, compiler_options=forms._SUMS_ONLY)(jnp.ones(3))) == 3


def test_what_is_used_several_times_is_computed_once(traced):
    def image(x, factor):
        return jnp.sin(x) * factor

    lowered = jax.jit(lambda x: Forms().computed_once(image, x, 3)).lower(jnp.ones(3)).as_text()
    assert 'inlineable = "false"' in lowered


def fleet_program(side_by_side):
    """The traced first steps of two models."""
    rows = load("digits").train[:60]
    recipe = Recipe().replace(latent_dim=3, network="mlp(hidden=[16])", batch_size=50, epochs=1)
    data = assembly.TrainingData(rows[:50], rows[50:])
    runs = [assembly.build_run(recipe.replace(random_state=seed), data) for seed in (0, 1)]
    first = runs[0]
    several = [Member(r.model, r.coordinates, r.plan.seed, 1e-3) for r in runs]
    stacked, states = members.assembled(
        several, first.objective, first.plan, Length(1, 1), side_by_side
    )
    orders = np.tile(np.arange(50, dtype=np.int32), (2, 1))
    rows = Batch(jnp.asarray(first.rows.values))
    epoch = Epoch(rows, *map(jnp.asarray, (orders, len(first.rows), 0)))
    bounds = map(jnp.asarray, ([True] * 2, 0, 1))
    chunk = members.FleetChunk(stacked, epoch, HeldOut.of(first.validation), *bounds)
    return str(eqx.filter_make_jaxpr(members.take_all_steps)(chunk, states)[0])


@pytest.mark.parametrize("in_turn", [True, False])
def test_a_share_of_a_fleet_keeps_to_its_core(traced, monkeypatch, in_turn):
    """A share that is not the only one: every kernel in its program is told so."""
    monkeypatch.setattr(members, "_WORTH_A_TURN", 0 if in_turn else 2**60)
    assert "alone" not in fleet_program(side_by_side=False)
    program = fleet_program(side_by_side=True)
    assert program.count("ffi_call[") == program.count("alone") > 0
