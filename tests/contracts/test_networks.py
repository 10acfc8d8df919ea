"""Every registered network walks into this suite by itself."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar.networks import NETWORKS, Shapes

NAMES = NETWORKS.names()
TEXTS = [*NAMES, "mlp(hidden=[])", "mlp(hidden=[7], activation=tanh, initialization=pytorch)"]
EXAMPLES = {"table": (5,), "image": (28, 28), "channels": (9, 12, 3)}
TAKEN = {"mlp": set(EXAMPLES), "conv": {"image", "channels"}, "tutorial": {"image"}}
"""What of these our own networks take; another one takes at least one of them."""


def shapes_of(example, heads):
    outputs = example if heads == 1 else (heads, *example)
    return Shapes(example, 7, 2, outputs)


def build(text, shapes, seed=0):
    return logvar.networks.get(text).build(shapes, jax.random.key(seed))


def fits(text, example, heads=1):
    try:
        build(text, shapes_of(example, heads))
    except logvar.LogvarError:
        return False
    return True


@pytest.mark.parametrize("text", TEXTS)
def test_it_takes_what_it_says_and_refuses_the_rest_in_one_line(text):
    taken = {name for name, example in EXAMPLES.items() if fits(text, example)}
    assert taken
    name = text.split("(")[0]
    assert taken == TAKEN.get(name, taken)
    for example in set(EXAMPLES) - taken:
        with pytest.raises(logvar.LogvarError, match=f"^network '{name}'[^\n]*$"):
            build(text, shapes_of(EXAMPLES[example], 1))


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("text", TEXTS)
def test_outputs_have_the_shapes_asked_for(text, heads):
    for example in EXAMPLES.values():
        if not fits(text, example, heads):
            continue
        shapes = shapes_of(example, heads)
        encoder, decoder = build(text, shapes)
        x, z = jax.ShapeDtypeStruct(example, jnp.float32), jax.ShapeDtypeStruct((2,), jnp.float32)
        for network, given, expected in ((encoder, x, (7,)), (decoder, z, shapes.outputs)):
            out = eqx.filter_eval_shape(network, given)
            assert out.shape == expected and out.dtype == jnp.float32


@pytest.mark.parametrize("text", TEXTS)
def test_weights_are_a_function_of_the_key_and_every_one_is_used(text):
    example = next(example for example in EXAMPLES.values() if fits(text, example))
    shapes = shapes_of(example, 1)
    one, same, other = (build(text, shapes, seed) for seed in (0, 0, 1))
    for a, b in zip(*map(jax.tree.leaves, (one, same)), strict=True):
        np.testing.assert_array_equal(a, b)
    differ = [
        not np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True)
    ]
    assert any(differ)

    rng = np.random.default_rng(0)
    given = rng.normal(size=(3, *example)), rng.normal(size=(3, 2))
    for network, rows in zip(one, given, strict=True):
        weights, rest = eqx.partition(network, eqx.is_inexact_array)

        @jax.jit
        @jax.grad
        def slope(weights, rows, rest=rest):
            outputs = jax.vmap(eqx.combine(weights, rest))(rows)
            return jnp.sum(jnp.square(outputs - 1))

        gradient = slope(weights, jnp.asarray(rows, jnp.float32))
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
            assert np.isfinite(leaf).all() and np.any(leaf), jax.tree_util.keystr(path)


@pytest.mark.parametrize("text", TEXTS)
def test_text_builds_the_same_network_again(text):
    network = logvar.networks.get(text)
    assert logvar.networks.get(logvar.networks.describe(network)) == network
    assert not [leaf for leaf in jax.tree.leaves(network) if eqx.is_array(leaf)]


@pytest.mark.parametrize("text", TEXTS)
def test_a_mask_or_a_condition_beside_x_changes_no_output(text):
    """The encoder sees further channels, or a longer row; the decoder's image stays as it is."""
    wider = {"table": (9,), "image": (28, 28, 3), "channels": (9, 12, 5)}
    for name, example in EXAMPLES.items():
        if not fits(text, example):
            continue
        shapes = Shapes(wider[name], 7, 4, (2, *example), example)
        if text == "tutorial":
            with pytest.raises(logvar.LogvarError, match="missing pixels or a condition"):
                build(text, shapes)
            continue
        encoder, decoder = build(text, shapes)
        seen = jax.ShapeDtypeStruct(wider[name], jnp.float32)
        z = jax.ShapeDtypeStruct((4,), jnp.float32)
        assert eqx.filter_eval_shape(encoder, seen).shape == (7,)
        assert eqx.filter_eval_shape(decoder, z).shape == (2, *example)


@pytest.mark.parametrize(
    ("name", "variance"),
    [("lecun", 1 / 300), ("glorot", 2 / 500), ("he", 2 / 300), ("pytorch", 1 / 900)],
)
def test_weights_start_with_the_variance_of_their_initialization(name, variance):
    text = f"mlp(hidden=[200], initialization={name})"
    encoder, _ = build(text, Shapes((300,), 7, 2, (300,)))
    layer = encoder.hidden[0]
    assert np.var(layer.kernel) == pytest.approx(variance, rel=0.02)
    assert np.abs(layer.kernel).max() <= np.sqrt(3 * variance)
    assert not np.any(layer.bias)


@pytest.mark.parametrize(
    ("name", "formula"), [("silu", jax.nn.silu), ("relu", jax.nn.relu), ("tanh", jnp.tanh)]
)
def test_hidden_layers_have_the_activation_asked_for(name, formula):
    encoder, decoder = build(f"mlp(hidden=[6], activation={name})", Shapes((4,), 3, 2, (4,)))
    rng = np.random.default_rng(0)
    for network, given in ((encoder, rng.normal(size=4)), (decoder, rng.normal(size=2))):
        x, (layer,), head = jnp.float32(given), network.hidden, network.head
        layer = eqx.tree_at(lambda m: m.bias, layer, jnp.linspace(-1, 1, 6))
        network = eqx.tree_at(lambda m: m.hidden, network, [layer])
        expected = formula(x @ layer.kernel + layer.bias) @ head.kernel + head.bias
        np.testing.assert_allclose(network(x), expected, rtol=1e-5, atol=1e-6)


def test_sums_of_strided_convolutions_keep_the_variance_of_what_they_add():
    """An output of a transposed convolution with stride 2 sums over a quarter of the window."""
    encoder, decoder = build("conv", Shapes((16, 16), 7, 2, (16, 16)))
    for kernel, terms in (
        (encoder.second.kernel, 9 * 32),
        (encoder.dense.kernel, 4 * 4 * 64),
        (decoder.wide.kernel, 256),
        (decoder.first.kernel, 9 * 64 / 4),
    ):
        assert np.var(kernel) == pytest.approx(1 / terms, rel=0.05)
    x = jax.random.normal(jax.random.key(1), (16, 16, 64))
    assert np.var(decoder.first(x)[2:-2, 2:-2]) == pytest.approx(1, rel=0.2)
