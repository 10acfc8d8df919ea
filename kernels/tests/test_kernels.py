"""The C kernels against NumPy in float64, and which products go to them."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from logvar_kernels import adam as passes
from logvar_kernels import library
from logvar_kernels.adam import adam_step, suits, sum_of_squares
from logvar_kernels.library import on_one_core
from logvar_kernels.product import multiply
from logvar_kernels.programs import rewritten
from sharing import normal, on_supported_jax, with_kernels

from logvar.backend.extension import AdamLeaves, AdamNumbers
from logvar.backend.ops import global_norm
from logvar.networks.layers import Dense
from logvar.training import optimizers
from logvar.training.optimizers import StepScalars

pytestmark = on_supported_jax

FORMS = {"as they lie": (False, False), "left turned": (True, False), "right turned": (False, True)}


def factors(rows, terms, columns, form, *batch):
    left_turned, right_turned = FORMS[form]
    left = normal(*batch, *((terms, rows) if left_turned else (rows, terms)))
    right = normal(*batch, *((columns, terms) if right_turned else (terms, columns)), seed=1)
    return left, right


def exact(left, right, form):
    left_turned, right_turned = FORMS[form]
    left, right = left.astype(np.float64), right.astype(np.float64)
    left = np.swapaxes(left, -1, -2) if left_turned else left
    return left @ (np.swapaxes(right, -1, -2) if right_turned else right)


def test_the_kernels_are_there_where_they_can_be():
    """On a machine with AVX-512 and a compiler, installing must have compiled them."""
    flags = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not flags.is_file() or not shutil.which("cc"):
        pytest.skip("not compiled here")
    if "avx512f" not in flags.read_text() or os.environ.get(library.SWITCH) == "0":
        pytest.skip("not used here")
    assert library.why_not() is None


@with_kernels
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("rows", "terms", "columns"),
    [
        (1, 1, 1), (13, 16, 16), (14, 17, 17), (15, 31, 32), (29, 33, 33), (128, 784, 40), (3, 5, 95),
        (600, 70, 20),  # more rows than columns: pieces of rows
        (7, 512, 48), (7, 513, 48), (20, 3000, 33),  # sums in one block, two, six
        (130, 2100, 300),
    ],
)  # fmt: skip
def test_products_are_those_of_float64(rows, terms, columns, form):
    left, right = factors(rows, terms, columns, form)
    got = multiply(jnp.asarray(left), jnp.asarray(right), *FORMS[form])
    np.testing.assert_allclose(got, exact(left, right, form), rtol=0, atol=1e-6 * terms**0.75)


@with_kernels
def test_long_sums_are_no_less_exact_than_xla_s():
    """Blocks of terms: added up one by one they are 1.4 times as far off."""
    left, right = factors(128, 784, 512, "as they lie")
    error = np.asarray(multiply(jnp.asarray(left), jnp.asarray(right))) - exact(
        left, right, "as they lie"
    )
    assert np.sqrt(np.mean(error**2)) < 1.04e-5  # XLA's own: 1.03e-5


@with_kernels
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("members", [(3,), (2, 5)])
def test_products_under_vmap(members, form):
    left, right = factors(30, 40, 50, form, *members)
    product = lambda a, b: multiply(a, b, *FORMS[form])  # noqa: E731
    for _ in members:
        product = jax.vmap(product)
    got = product(jnp.asarray(left), jnp.asarray(right))
    np.testing.assert_allclose(got, exact(left, right, form), rtol=0, atol=2e-5)


@with_kernels
def test_a_factor_that_members_share():
    left, right = factors(30, 40, 50, "as they lie", 3)
    got = jax.vmap(multiply, in_axes=(None, 0))(jnp.asarray(left[0]), jnp.asarray(right))
    np.testing.assert_allclose(got, exact(left[:1], right, "as they lie"), rtol=0, atol=2e-5)


@with_kernels
def test_a_row_does_not_depend_on_the_others():
    left, right = factors(500, 1500, 70, "as they lie")
    whole = np.asarray(multiply(jnp.asarray(left), jnp.asarray(right)))
    for some in (slice(0, 1), slice(3, 31), slice(100, 400)):
        np.testing.assert_array_equal(
            multiply(jnp.asarray(left[some]), jnp.asarray(right)), whole[some]
        )


CORES = """
import os, sys
os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:int(sys.argv[1])]))
import hashlib, numpy as np, jax.numpy as jnp
from logvar_kernels import library
from logvar_kernels.adam import sum_of_squares
from logvar_kernels.product import multiply
assert library.in_use()
draw = lambda *shape: jnp.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))
one = multiply(draw(784, 130), draw(784, 500), True, False)
few = sum_of_squares([draw(300, 501)], [jnp.ones(1)])
print(hashlib.sha256(np.asarray(one).tobytes() + np.asarray(few).tobytes()).hexdigest())
"""


@with_kernels
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
def test_the_number_of_cores_changes_no_bit():
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core")
    digests = {
        subprocess.run([sys.executable, "-c", CORES, n], capture_output=True, text=True, check=True).stdout
        for n in ("1", "2")
    }  # fmt: skip
    assert len(digests) == 1


@with_kernels
def test_what_is_not_finite_stays_so_and_where_it_is():
    left, right = factors(20, 30, 40, "as they lie")
    left[3, 7], right[5, 9] = np.nan, np.inf
    got = np.asarray(multiply(jnp.asarray(left), jnp.asarray(right)))
    expected = np.zeros((20, 40), bool)
    expected[3], expected[:, 9] = True, True
    np.testing.assert_array_equal(~np.isfinite(got), expected)


@with_kernels
def test_subnormal_numbers_are_zero_on_every_thread():
    tiny = np.full((512, 512), 1e-39, np.float32)
    assert not np.asarray(
        multiply(jnp.asarray(tiny), jnp.asarray(np.full((512, 512), 2.0**10, np.float32)))
    ).any()


@with_kernels
@pytest.mark.parametrize(
    ("left", "right", "says"),
    [((4, 5), (6, 7), "different numbers of terms"), ((4, 0), (0, 7), "empty factor")],
)
def test_factors_that_do_not_fit_are_refused(left, right, says):
    with pytest.raises(Exception, match=says):
        jax.block_until_ready(multiply(jnp.zeros(left), jnp.zeros(right)))


# Left factors that are zero in many places


def with_zeros(rows, terms, columns, form, *batch, nonzero=0.1):
    """Factors of which the left one is what images on a black ground are: blocks that are zero."""
    left, right = factors(rows, terms, columns, form, *batch)
    kept = np.random.default_rng(2).random(left.shape) < nonzero
    kept[..., : left.shape[-1] // 3] = False
    return np.where(kept, left, np.float32(0)), right


def by_few_rows(left, right, form):
    """The same product, of so few rows at a time that no zero is looked for."""
    axis = left.ndim - (1 if FORMS[form][0] else 2)
    parts = np.split(left, range(13, left.shape[axis], 13), axis)
    multiplied = [multiply(jnp.asarray(part), jnp.asarray(right), *FORMS[form]) for part in parts]
    return np.concatenate(multiplied)


SPARSE = [
    (32, 40, 8), (33, 17, 31), (47, 512, 33), (50, 513, 64), (784, 128, 65), (128, 784, 96),
    (129, 1700, 97), (70, 100, 200), (65, 30, 300),
]  # fmt: skip


@with_kernels
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("rows", "terms", "columns"), SPARSE)
@pytest.mark.parametrize("nonzero", [0.0, 0.02, 0.2, 0.9])
def test_zeros_that_are_left_out_change_no_bit(rows, terms, columns, form, nonzero):
    left, right = with_zeros(rows, terms, columns, form, nonzero=nonzero)
    got = np.asarray(multiply(jnp.asarray(left), jnp.asarray(right), *FORMS[form]))
    np.testing.assert_array_equal(got, by_few_rows(left, right, form))
    np.testing.assert_allclose(got, exact(left, right, form), rtol=0, atol=1e-6 * terms**0.75)


@with_kernels
@pytest.mark.parametrize("form", FORMS)
def test_zeros_are_left_out_for_each_member_by_itself(form):
    left, right = with_zeros(50, 600, 70, form, 3)
    product = jax.vmap(lambda a, b: multiply(a, b, *FORMS[form]))
    got = np.asarray(product(jnp.asarray(left), jnp.asarray(right)))
    np.testing.assert_allclose(got, exact(left, right, form), rtol=0, atol=1e-4)
    for member in range(3):
        np.testing.assert_array_equal(got[member], by_few_rows(left[member], right[member], form))


@with_kernels
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("column", [5, 116, 129])
def test_zero_times_what_is_not_finite_is_not_left_out(form, number, column):
    left, right = with_zeros(64, 600, 130, form)
    right[(7, column) if form != "right turned" else (column, 7)] = number
    got = np.asarray(multiply(jnp.asarray(left), jnp.asarray(right), *FORMS[form]))
    with np.errstate(invalid="ignore"):
        expected = exact(left, right, form)
    assert np.isnan(expected[:, column]).sum() > 30
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)


@with_kernels
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("number", [np.inf, np.nan])
def test_what_is_not_finite_among_zeros_is_seen(form, number):
    left, right = with_zeros(64, 600, 130, form)
    left[(7, 63) if form == "left turned" else (63, 7)] = number
    got = np.asarray(multiply(jnp.asarray(left), jnp.asarray(right), *FORMS[form]))
    assert not np.isfinite(got[63]).any() and np.isfinite(got[:63]).all()


@with_kernels
def test_negative_zeros_are_zeros():
    left, right = with_zeros(64, 200, 50, "as they lie")
    minus = np.where(left == 0, np.float32(-0.0), left)
    got = [np.asarray(multiply(jnp.asarray(one), jnp.asarray(right))) for one in (left, minus)]
    np.testing.assert_array_equal(*[one.view(np.int32) for one in got])


# Which products of a traced program go to the kernels

# Programs that are only traced and lowered need no processor with AVX-512 (the fixture `traced`).


def lowered(function, *arguments):
    return jax.jit(rewritten(function)).lower(*arguments).as_text()


def calls(function, *arguments):
    """The names of the custom calls in a function's program."""
    parts = lowered(function, *arguments).split("custom_call @")[1:]
    return sorted(part.split("(")[0] for part in parts)


def dense_gradient():
    def loss(kernel, x):
        return jnp.sum(jnp.sin(x @ kernel))

    layer = Dense(64, 48, key=jax.random.key(0))
    return jax.grad(loss, argnums=(0, 1)), layer.kernel, jnp.asarray(normal(128, 64))


def test_a_dense_layer_goes_to_the_kernels_forward_and_backward(traced):
    assert calls(*dense_gradient()) == [
        "logvar_product", "logvar_product_left_turned", "logvar_product_right_turned",
    ]  # fmt: skip


@with_kernels
def test_a_dense_layer_forward_and_backward():
    gradient, kernel, x = dense_gradient()
    got = jax.jit(rewritten(gradient))(kernel, x)
    kernel64, x64 = np.asarray(kernel, np.float64), np.asarray(x, np.float64)
    slope = np.cos(x64 @ kernel64)
    np.testing.assert_allclose(got[0], x64.T @ slope, rtol=0, atol=1e-4)
    np.testing.assert_allclose(got[1], slope @ kernel64.T, rtol=0, atol=1e-4)
    # Neither the kernel's gradient nor a factor is moved to be turned.
    compiled = jax.jit(rewritten(gradient)).lower(kernel, x).compile().as_text()
    moved = [line for line in compiled.splitlines() if " transpose(" in line or " copy(" in line]
    assert not moved


def sum_over_several_axes(seen, given):
    """The gradient of a convolution's kernel."""
    return lax.dot_general(seen, given, (((0, 1, 2), (0, 1, 2)), ((), ())))


SEVERAL_AXES = pytest.mark.parametrize(
    ("seen", "given"),
    [(one, other) for leading in ((6, 4, 4), (2, 40, 40))
     for one, other in (((*leading, 24), (*leading, 80)), ((*leading, 80), (*leading, 24)))],
)  # fmt: skip


@SEVERAL_AXES
def test_sums_over_several_axes_go_to_the_kernels(traced, seen, given):
    """Of many terms the narrow factor goes first."""
    seen, given = normal(*seen), normal(*given, seed=1)
    assert calls(sum_over_several_axes, seen, given) == ["logvar_product_left_turned"]
    terms = np.prod(seen.shape[:3])
    if terms > 1000:
        narrow_first = f"(tensor<{terms}x24xf32>, tensor<{terms}x80xf32>) ->"
        assert narrow_first in lowered(sum_over_several_axes, seen, given)


@with_kernels
@SEVERAL_AXES
def test_sums_over_several_axes(seen, given):
    seen, given = normal(*seen), normal(*given, seed=1)
    one, other = (a.reshape(-1, a.shape[-1]).astype(np.float64) for a in (seen, given))
    got = jax.jit(rewritten(sum_over_several_axes))(seen, given)
    np.testing.assert_allclose(got, one.T @ other, rtol=0, atol=1e-3)


def kernel_gradient(gradient, x):
    return lax.dot_general(gradient, x, (((0,), (0,)), ((), ()))).T


LONG_SUMS = [(300, 200, True), (200, 300, True), (300, 40, False)]


@pytest.mark.parametrize(("seen", "given", "seen_first"), LONG_SUMS)
def test_what_a_layer_has_seen_goes_first_in_a_long_sum_as_well(traced, seen, given, seen_first):
    """Of 2000 rows: there its zeros are left out. A narrow gradient goes first nevertheless."""
    x, gradient = normal(2000, seen), normal(2000, given, seed=1)
    order = (seen, given) if seen_first else (given, seen)
    factors = ", ".join(f"tensor<2000x{columns}xf32>" for columns in order)
    lines = lowered(kernel_gradient, gradient, x).splitlines()
    (called,) = (line for line in lines if "custom_call" in line)
    assert f"({factors}) ->" in called


@with_kernels
@pytest.mark.parametrize(("seen", "given"), [sizes[:2] for sizes in LONG_SUMS])
def test_long_sums_are_those_of_float64(seen, given):
    x, gradient = normal(2000, seen), normal(2000, given, seed=1)
    got = jax.jit(rewritten(kernel_gradient))(gradient, x)
    np.testing.assert_allclose(got, x.T.astype(np.float64) @ gradient, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("left", "right", "numbers"),
    [
        ((128, 256), (256, 7), (((1,), (0,)), ((), ()))),  # few columns
        ((8, 16), (16, 32), (((1,), (0,)), ((), ()))),  # little work
        ((64, 64), (64, 64), (((0,), (1,)), ((), ()))),  # both turned
        ((4, 64, 64), (4, 64, 64), (((2,), (1,)), ((0,), (0,)))),  # a batch
        ((8, 64, 8), (64, 64), (((1,), (0,)), ((), ()))),  # summed in the middle
        ((2048, 9), (2048, 32), (((0,), (0,)), ((), ()))),  # a long sum of few rows: one piece
    ],
)
def test_products_that_xla_keeps(traced, left, right, numbers):
    product = lambda a, b: lax.dot_general(a, b, numbers)  # noqa: E731
    one, other = normal(*left), normal(*right, seed=1)
    assert calls(product, one, other) == []
    # Another axis summed, and turned, the kernels would take it: the rule is what keeps it.
    assert calls(lambda a, b: a @ b, normal(128, 64), normal(64, 64)) == ["logvar_product"]


def test_products_of_other_numbers_stay_with_xla(traced):
    half = jnp.ones((128, 64), jnp.bfloat16)
    assert calls(lambda a, b: a @ b, half, half.T) == []
    asked = lambda a, b: jnp.matmul(a, b, precision="highest")  # noqa: E731
    assert calls(asked, jnp.ones((128, 64)), jnp.ones((64, 64))) == []


def alone_or_not(when):
    left, right = factors(300, 400, 500, "as they lie")
    with on_one_core(when):
        return jax.jit(rewritten(lambda a, b: a @ b)).lower(left, right)


def test_kernels_of_programs_that_run_side_by_side_keep_to_their_core(traced):
    """Told so when the program is traced, and not only the first time."""
    shared, alone = (alone_or_not(when).as_text() for when in (False, True))
    assert "alone" in alone and "alone" not in shared
    left, right = factors(300, 400, 500, "as they lie")
    assert "alone" not in lowered(lambda a, b: a @ b, left, right)


@with_kernels
def test_no_bit_depends_on_the_core():
    left, right = factors(300, 400, 500, "as they lie")
    results = [alone_or_not(when).compile()(left, right) for when in (False, True)]
    np.testing.assert_array_equal(*results)


# Adam and the norm

SHAPES = [(37, 20), (5,), (3, 3, 2, 7), (), (40000,), (1, 1)]


def trees(seed, *members):
    return [jnp.asarray(normal(*members, *shape, seed=seed + i)) for i, shape in enumerate(SHAPES)]


COORDINATES = {
    "ones": [np.ones(()) for _ in SHAPES],
    "one each": [np.array(0.5 + i) for i, _ in enumerate(SHAPES)],
    "by column": [np.linspace(0.5, 2, shape[-1] if shape else 1) for shape in SHAPES],
}


def factors_of(name):
    return [jnp.asarray(c, jnp.float32) for c in COORDINATES[name]]


@with_kernels
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "adam-keras"])
@pytest.mark.parametrize("taken", [True, False])
def test_one_pass_is_what_is_written(optimizer, coordinates, taken, monkeypatch):
    decay = 0.0 if optimizer == "adam-keras" else 0.03
    chosen = optimizers.get(optimizer, weight_decay=decay).build()
    params, state = trees(0), chosen.init(trees(0), factors_of(coordinates))
    scalars = StepScalars(jnp.asarray(0.01), jnp.asarray(0.7), jnp.asarray(taken), jnp.zeros(()))
    both = []
    for fused in (True, False):
        monkeypatch.setattr(passes, "in_use", lambda fused=fused: fused)
        now, then = params, state
        for step in range(3):
            gradient = trees(10 + 10 * step)
            run = jax.jit(lambda p, g, s: chosen.step(p, g, s, factors_of(coordinates), scalars))
            now, then = run(now, gradient, then)
        both.append(jax.tree.leaves((now, then)))
    for ours, written in zip(*both, strict=True):
        np.testing.assert_allclose(ours, written, rtol=2e-6, atol=2e-7)
    if not taken:
        for before, after in zip(params, both[0][: len(params)], strict=True):
            np.testing.assert_array_equal(before, after)


@with_kernels
def test_adam_for_a_fleet():
    """Each member has numbers, weights and factors of its own."""
    rates, members = jnp.asarray([0.1, 0.2, 0.3]), 3
    columns = [jnp.asarray(normal(members, shape[-1] if shape else 1, seed=90)) for shape in SHAPES]
    given = (
        trees(0, members),
        trees(10, members),
        [a * a for a in trees(20, members)],
        trees(30, members),
    )

    def one(rate, weights, first, second, gradient, factors):
        numbers = AdamNumbers(rate, 1.0, 1.0, 1e-8, None, None, 1, 0.9, 0.1, 0.999, 0.001)
        leaves = AdamLeaves(weights, first, second, gradient, factors)
        return adam_step(numbers, leaves), sum_of_squares(gradient, factors)

    together = jax.vmap(one)(rates, *given, columns)
    for i in range(members):
        member = jax.tree.map(lambda a: a[i], (rates, *given, columns))  # noqa: B023
        for got, alone in zip(
            jax.tree.leaves(together), jax.tree.leaves(one(*member)), strict=True
        ):
            np.testing.assert_array_equal(got[i], alone)


@with_kernels
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_the_norm_is_that_of_float64(coordinates):
    gradient, factors = trees(0), COORDINATES[coordinates]
    exactly = sum(
        float(np.sum((np.asarray(g, np.float64) * np.broadcast_to(c if c.size > 1 else c.reshape(()), g.shape)) ** 2))
        for g, c in zip(gradient, factors, strict=True)
    )  # fmt: skip
    got = float(global_norm(gradient, factors_of(coordinates)))
    np.testing.assert_allclose(got, exactly**0.5, rtol=1e-6)


def test_arrays_that_the_passes_leave_to_xla(traced):
    one = jnp.ones(())
    assert suits([jnp.ones((3, 4))], [one])
    assert suits([jnp.ones((3, 4))], [jnp.ones((1, 4))])
    assert not suits([jnp.ones((3, 4))], [jnp.ones((3, 1))])  # a factor for each row
    assert not suits([jnp.ones((3, 4))], [jnp.ones((3, 4))])
    assert not suits([jnp.ones((3, 4), jnp.bfloat16)], [one])
    assert not suits([jnp.ones((0, 4))], [one])
    assert not suits([], [])
    assert not suits([one] * 513, [one] * 513)
