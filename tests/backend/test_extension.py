"""The optional package: found by its entry point, used where it is active, otherwise named."""

import contextlib
import importlib.metadata
import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logvar.backend import extension, ops
from logvar.backend.adam import AdamMoved
from logvar.backend.compiling import Compiled
from logvar.backend.convolution import scatter
from logvar.backend.extension import Extension
from logvar.backend.precision import Precision, in_training, products_round_on_request
from logvar.backend.windows import window_of
from logvar.networks.layers import Dense
from logvar.storage.environment import environment
from logvar.training import optimizers
from logvar.training.optimizers import StepScalars


class Entry:
    """An entry point that loads this, or raises it."""

    value = "another_package:extension"

    def __init__(self, loaded):
        self.loaded = loaded

    def load(self):
        if isinstance(self.loaded, BaseException):
            raise self.loaded
        return self.loaded


@pytest.fixture
def installed(monkeypatch):
    """Makes packages with these entry points the only ones."""

    def install(*loaded):
        groups = {extension.GROUP: [Entry(one) for one in loaded]}
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: groups[group])
        extension._found.cache_clear()
        jax.clear_caches()

    yield install
    monkeypatch.undo()
    extension._found.cache_clear()
    jax.clear_caches()


OPERATIONS = {
    name for name, _ in inspect.getmembers(Extension, inspect.isfunction) if name != "why_inert"
}


class Fake(Extension):
    """An extension whose forms give other results than the plain ones."""

    name = "fake"
    version = "1.0"
    interface = extension.INTERFACE


def active(**forms):
    """An entry point's function for an active extension with these forms."""
    assert forms.keys() <= OPERATIONS
    return type("Active", (Fake,), {name: staticmethod(form) for name, form in forms.items()})


def silu_is_plain():
    found = ops.biased_silu(jnp.ones(3), jnp.ones(3))
    np.testing.assert_allclose(found, 2 / (1 + np.exp(-2)), rtol=1e-6)


def adam_step():
    """Weights of 1 with gradients of 2 and factors of 3; the weights and the state afterwards."""
    params, gradient, factors = ({"a": jnp.full(2, n)} for n in (1.0, 2.0, 3.0))
    chosen = optimizers.get("adam").build()
    scalars = StepScalars(jnp.asarray(0.5), jnp.asarray(0.25), jnp.asarray(True), jnp.zeros(()))
    return chosen.step(params, gradient, chosen.init(params, factors), factors, scalars)


# Whether there is one


def test_none_installed(installed):
    installed()
    assert extension.description() == "none installed; XLA computes everything"
    assert extension.active() == "none"
    silu_is_plain()


def test_an_inert_one_says_why_and_computes_nothing(installed):
    class Inert(Fake):
        def why_inert(self):
            return "it is not for this processor"

        def biased_silu(self, x, bias):
            raise AssertionError("an inert extension is not asked")

    installed(Inert)
    assert extension.description() == "fake 1.0, inert: it is not for this processor"
    assert extension.active() == "none"
    silu_is_plain()


@pytest.mark.parametrize("other", [None, extension.INTERFACE + 1])
def test_one_for_another_version_of_the_interface_says_so_and_computes_nothing(installed, other):
    class Other(Fake):
        interface = other

        def why_inert(self):
            raise AssertionError("may have another meaning there")

        def biased_silu(self, x, bias):
            raise AssertionError("an inert extension is not asked")

    installed(Other)
    assert extension.description().startswith(
        f"fake 1.0, inert: it was written for version {other} of logvar's interface, this logvar "
        f"has version {extension.INTERFACE}; "
    )
    assert extension.active() == "none"
    silu_is_plain()


def test_one_that_is_no_extension_says_so_and_computes_nothing(installed):
    """Kernels from before there was a base class: they had a name and `why_inert`."""

    class Older:
        name = "older 0.1"

        def why_inert(self):
            return None

        def biased_silu(self, x, bias):
            raise AssertionError("an inert extension is not asked")

    installed(Older)
    assert extension.description() == (
        "another_package:extension cannot be loaded: expected an Extension, got Older"
    )
    silu_is_plain()


@pytest.mark.parametrize(
    "error",
    [
        ImportError("no such module"),
        OSError("no such file"),
        AttributeError("no such name"),
        RuntimeError("another API"),
        TypeError("no function"),
        ValueError("no number"),
    ],
)
def test_one_that_cannot_be_loaded_says_so_and_computes_nothing(installed, error):
    installed(error)
    assert extension.description() == f"another_package:extension cannot be loaded: {error}"
    assert extension.active() == "none"
    silu_is_plain()


def test_an_active_one_is_named(installed):
    installed(active())
    assert extension.description() == "fake 1.0, in use"
    assert extension.active() == environment()["kernels"] == "fake 1.0"
    silu_is_plain()  # which it does not have


# Which of its forms are used


def test_operations_of_one_example(installed):
    installed(active(
        biased_silu=lambda x, bias: x - bias,
        standard_normal=lambda key, shape: jnp.full(shape, 7.0),
        bernoulli_log_prob=lambda x, logits: jnp.sum(x) - 3 * jnp.sum(logits),
        sum_of_squares=lambda gradients, factors: jnp.asarray(16.0 * len(gradients)),
    ))  # fmt: skip
    five, two = jnp.full(3, 5.0), jnp.full(3, 2.0)
    np.testing.assert_array_equal(ops.biased_silu(five, two), [3, 3, 3])
    np.testing.assert_array_equal(ops.standard_normal(jax.random.key(0), (2, 1)), [[7], [7]])
    assert ops.bernoulli_log_prob(five, two) == 15 - 18
    assert ops.global_norm([five], [jnp.ones(())]) == 4


def test_forms_that_do_not_suit_the_arguments_fall_back(installed):
    asked = set()

    def refusing(name):
        refusal = False if name == "rounds_on_request" else None
        return lambda *arguments: asked.add(name) or refusal

    installed(active(**{name: refusing(name) for name in OPERATIONS}))
    silu_is_plain()
    key = jax.random.key(3)
    np.testing.assert_array_equal(ops.standard_normal(key, (4,)), jax.random.normal(key, (4,)))
    x, logits = jnp.asarray([0.0, 1.0]), jnp.asarray([-1.0, 2.0])
    exactly = np.sum(np.asarray(x) * np.asarray(logits) - np.log1p(np.exp(np.asarray(logits))))
    np.testing.assert_allclose(ops.bernoulli_log_prob(x, logits), exactly, rtol=1e-6)
    assert ops.global_norm([jnp.full(4, 3.0)], [jnp.asarray(0.5)]) == 3
    np.testing.assert_allclose(adam_step()[0]["a"], [-0.5, -0.5], rtol=1e-4)  # 1 − 0.5·3·1
    assert ops.optimized(np.sin) is np.sin
    assert ops.computed_once(lambda x, n: x + n, jnp.ones(()), 2) == 3
    with ops.on_one_core(True):
        pass
    assert not ops.one_core_differs()
    assert Compiled(lambda x: 2 * x)(jnp.ones(())) == 2
    assert products_round_on_request() is (jax.default_backend() != "cpu")
    assert asked >= OPERATIONS - {"rounds_on_request"}


def test_a_step_of_adam(installed):
    """All leaves at once, with the numbers of the step."""
    seen = []

    def fused(numbers, leaves):
        seen.append((numbers, leaves))
        return AdamMoved(leaves.gradients, leaves.weights, leaves.factors)

    installed(active(adam_step=fused))
    weights, state = adam_step()
    np.testing.assert_array_equal(weights["a"], [2, 2])
    np.testing.assert_array_equal(state.first["a"], [1, 1])
    np.testing.assert_array_equal(state.second["a"], [3, 3])
    assert (int(state.steps), float(seen[0][0].rate), float(seen[0][0].clip)) == (1, 0.5, 0.25)


def test_whole_functions(installed):
    entered = []

    @contextlib.contextmanager
    def on_one_core(when):
        entered.append(when)
        yield

    installed(active(
        optimized=lambda function: lambda *arguments: -function(*arguments),
        computed_once=lambda function, array, setting: 10 * function(array, setting),
        on_one_core=on_one_core,
    ))  # fmt: skip
    assert ops.optimized(lambda x: x + 1)(1) == -2
    assert ops.one_core_differs() and not entered
    with ops.on_one_core(True):
        assert entered == [True]


def test_the_logits_of_a_grey_image_are_computed_once(installed):
    window = window_of((4, 4), 1, (2, 2), 2, "valid")
    patches = jnp.ones((*window.patches, 4))
    installed(active())
    plain = np.asarray(scatter(patches, window))
    installed(active(computed_once=lambda function, array, setting: 10 * function(array, setting)))
    np.testing.assert_array_equal(scatter(patches, window), 10 * plain)


def test_options_of_the_compiler_are_chosen_by_what_is_fixed(installed):
    """With the fixed inputs of a program, and not its arrays."""
    seen = []

    def compiler_options(leaves):
        seen.append(leaves)
        return {"no_such_option": True} if 2.5 in leaves else None

    installed(active(compiler_options=compiler_options))
    function = Compiled(lambda x, factor: x * factor)
    assert function(jnp.ones(()), 1.5) == 1.5
    with pytest.raises(Exception, match="no_such_option"):
        function(jnp.ones(()), 2.5)
    assert [leaves[1] for leaves in seen] == [1.5, 2.5]
    assert not any(isinstance(leaves[0], jax.Array) for leaves in seen)


class Model(eqx.Module):
    encoder: Dense
    decoder: Dense
    networks = ("encoder", "decoder")


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="accelerators round on request")
@pytest.mark.parametrize("rounds", [True, False])
def test_layers_round_only_where_products_do_not_round_on_request(installed, rounds):
    installed(active(rounds_on_request=lambda: rounds))
    assert products_round_on_request() is rounds
    layer = Dense(3, 2, key=jax.random.key(0))
    model = in_training(Model(layer, layer), Precision.BFLOAT16)
    program = str(jax.make_jaxpr(jax.vmap(model.encoder))(jnp.ones((4, 3))))
    assert ("BF16_BF16_F32" in program, "reduce_precision" in program) == (rounds, not rounds)
