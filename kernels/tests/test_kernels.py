"""Kernels of our own against NumPy in float64, and that everything works without them."""

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from logvar.native import adam as passes
from logvar.native import library
from logvar.native.adam import Numbers, adam, suits, sum_of_squares
from logvar.native.library import on_one_core
from logvar.native.product import multiply
from logvar.networks.products import suited_to_cpu
from tests.kernels import normal, with_kernels

from logvar.networks.layers import Dense
from logvar.training.optimizers import direction
from logvar.training.update import Stride, norm_of, updated

FORMS = {"as they lie": (False, False), "left turned": (True, False), "right turned": (False, True)}
ROOT = Path(__file__).parents[1]


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
    """On a fresh machine with a compiler, installing must have compiled them."""
    flags = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not flags.is_file() or not shutil.which("cc"):
        pytest.skip("not compiled here")
    if "avx512f" in flags.read_text() and os.environ.get(library.SWITCH) != "0":
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
from logvar.native import library
from logvar.native.adam import sum_of_squares
from logvar.native.product import multiply
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


def calls(function, *arguments):
    """The names of the custom calls in a function's program."""
    text = jax.jit(suited_to_cpu(function)).lower(*arguments).as_text()
    return sorted(part.split("(")[0] for part in text.split("custom_call @")[1:])


@with_kernels
def test_a_dense_layer_forward_and_backward():
    layer, x = Dense(64, 48, key=jax.random.key(0)), jnp.asarray(normal(128, 64))

    def loss(kernel, x):
        return jnp.sum(jnp.sin(x @ kernel))

    gradient = jax.grad(loss, argnums=(0, 1))
    assert calls(gradient, layer.kernel, x) == [
        "logvar_product", "logvar_product_left_turned", "logvar_product_right_turned",
    ]  # fmt: skip
    got = jax.jit(suited_to_cpu(gradient))(layer.kernel, x)
    kernel64, x64 = np.asarray(layer.kernel, np.float64), np.asarray(x, np.float64)
    slope = np.cos(x64 @ kernel64)
    np.testing.assert_allclose(got[0], x64.T @ slope, rtol=0, atol=1e-4)
    np.testing.assert_allclose(got[1], slope @ kernel64.T, rtol=0, atol=1e-4)
    # Neither the kernel's gradient nor a factor is moved to be turned.
    compiled = jax.jit(suited_to_cpu(gradient)).lower(layer.kernel, x).compile().as_text()
    moved = [line for line in compiled.splitlines() if " transpose(" in line or " copy(" in line]
    assert not moved


@with_kernels
@pytest.mark.parametrize("shape", [(6, 4, 4, 24), (2, 40, 40, 24)])
def test_sums_over_several_axes(shape):
    """The gradient of a convolution's kernel; of many terms the narrow factor goes first."""
    for wide, narrow in ((shape, (*shape[:3], 80)), ((*shape[:3], 80), shape)):
        seen, given = normal(*wide), normal(*narrow, seed=1)

        def gradient(seen, given):
            return lax.dot_general(seen, given, (((0, 1, 2), (0, 1, 2)), ((), ())))

        assert calls(gradient, seen, given) == ["logvar_product_left_turned"]
        terms = np.prod(shape[:3])
        if terms > 1000:
            lowered = jax.jit(suited_to_cpu(gradient)).lower(seen, given).as_text()
            assert f"(tensor<{terms}x24xf32>, tensor<{terms}x80xf32>) ->" in lowered
        one, other = (a.reshape(terms, -1).astype(np.float64) for a in (seen, given))
        got = jax.jit(suited_to_cpu(gradient))(seen, given)
        np.testing.assert_allclose(got, one.T @ other, rtol=0, atol=1e-3)


@with_kernels
@pytest.mark.parametrize(
    ("seen", "given", "seen_first"), [(300, 200, True), (200, 300, True), (300, 40, False)]
)
def test_what_a_layer_has_seen_goes_first_in_a_long_sum_as_well(seen, given, seen_first):
    """Of 2000 rows: there its zeros are left out. A narrow gradient goes first nevertheless."""
    x, gradient = normal(2000, seen), normal(2000, given, seed=1)
    kernel = lambda gradient, x: lax.dot_general(gradient, x, (((0,), (0,)), ((), ()))).T  # noqa: E731
    program = jax.jit(suited_to_cpu(kernel))
    order = (seen, given) if seen_first else (given, seen)
    factors = ", ".join(f"tensor<2000x{columns}xf32>" for columns in order)
    lines = program.lower(gradient, x).as_text().splitlines()
    (called,) = (line for line in lines if "custom_call" in line)
    assert f"({factors}) ->" in called
    got, expected = program(gradient, x), x.T.astype(np.float64) @ gradient
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-3)


@with_kernels
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
def test_products_that_xla_keeps(left, right, numbers):
    product = lambda a, b: lax.dot_general(a, b, numbers)  # noqa: E731
    one, other = normal(*left), normal(*right, seed=1)
    assert calls(product, one, other) == []
    # Another axis summed, and turned, it would be one of ours: the rule is what keeps it.
    assert calls(lambda a, b: a @ b, normal(128, 64), normal(64, 64)) == ["logvar_product"]


@with_kernels
def test_products_of_other_numbers_stay_with_xla():
    half = jnp.ones((128, 64), jnp.bfloat16)
    assert calls(lambda a, b: a @ b, half, half.T) == []
    asked = lambda a, b: jnp.matmul(a, b, precision="highest")  # noqa: E731
    assert calls(asked, jnp.ones((128, 64)), jnp.ones((64, 64))) == []


@with_kernels
def test_kernels_of_programs_that_run_side_by_side_keep_to_their_core():
    """Told so when the program is traced, and not only the first time; no bit depends on it."""
    left, right = factors(300, 400, 500, "as they lie")

    def lowered(when):
        with on_one_core(when):
            return jax.jit(suited_to_cpu(lambda a, b: a @ b)).lower(left, right)

    shared, alone = lowered(False), lowered(True)
    assert "alone" in alone.as_text() and "alone" not in shared.as_text()
    assert "alone" not in jax.jit(suited_to_cpu(lambda a, b: a @ b)).lower(left, right).as_text()
    results = [program.compile()(left, right) for program in (shared, alone)]
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
    chosen = direction(optimizer, 0.0 if optimizer == "adam-keras" else 0.03)
    params, state = trees(0), chosen.init(trees(0))
    stride = Stride(jnp.asarray(0.01), jnp.asarray(0.7), jnp.asarray(taken))
    both = []
    for native in (True, False):
        monkeypatch.setattr(passes, "in_use", lambda native=native: native)
        now, then = params, state
        for step in range(3):
            gradient = trees(10 + 10 * step)
            run = jax.jit(lambda p, g, s: updated(chosen, p, g, s, factors_of(coordinates), stride))
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
        numbers = Numbers(rate, 1.0, 1.0, 1e-8, 0.0, 0.0, 1, 0.9, 0.1, 0.999, 0.001)
        return adam(numbers, weights, first, second, gradient, factors), sum_of_squares(
            gradient, factors
        )

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
    got = float(norm_of(gradient, factors_of(coordinates)))
    np.testing.assert_allclose(got, exactly**0.5, rtol=1e-6)


@with_kernels
def test_arrays_that_the_passes_leave_to_xla():
    one = jnp.ones(())
    assert suits([jnp.ones((3, 4))], [one])
    assert suits([jnp.ones((3, 4))], [jnp.ones((1, 4))])
    assert not suits([jnp.ones((3, 4))], [jnp.ones((3, 1))])  # a factor for each row
    assert not suits([jnp.ones((3, 4))], [jnp.ones((3, 4))])
    assert not suits([jnp.ones((3, 4), jnp.bfloat16)], [one])
    assert not suits([jnp.ones((0, 4))], [one])
    assert not suits([], [])
    assert not suits([one] * 513, [one] * 513)


# Without them

FIT = """
import json, logvar
from logvar.data.sources import load
from logvar.native import library
vae = logvar.VAE(epochs=3, latent_dim=4, random_state=0).fit(load("digits").train[:600])
print(json.dumps([library.why_not(), vae.score(load("digits").train[:200])]))
"""


def fitted(kernels, cache):
    environment = os.environ | {library.SWITCH: kernels, "LOGVAR_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", FIT], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_a_fit_without_the_kernels_ends_where_one_with_them_does(tmp_path):
    (why, without), (_, with_them) = fitted("0", tmp_path), fitted("1", tmp_path)
    assert why == "LOGVAR_KERNELS=0 leaves them out"
    assert without == pytest.approx(with_them, abs=0.02)


def test_a_package_that_was_built_without_them_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "_FILE", tmp_path / "kernels.so")
    monkeypatch.delenv(library.SWITCH, raising=False)
    assert library.why_not.__wrapped__() == "they were not compiled when logvar was installed"
    (tmp_path / "kernels.so").write_text("no library")
    assert library.why_not.__wrapped__().startswith("they cannot be loaded: ")
    old = types.SimpleNamespace(logvar_supported=lambda: 0)
    monkeypatch.setattr(library.ctypes, "CDLL", lambda name: old)
    assert library.why_not.__wrapped__() == "this processor has no AVX-512"
    older = types.SimpleNamespace(logvar_supported=lambda: 1, logvar_product=lambda: None)
    monkeypatch.setattr(library.ctypes, "CDLL", lambda name: older)
    assert library.why_not.__wrapped__().startswith("they are of another version of logvar")


def test_building_without_a_compiler_says_what_to_do(monkeypatch):
    pytest.importorskip("hatchling")
    described = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    build = importlib.util.module_from_spec(described)
    described.loader.exec_module(build)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setenv(library.SWITCH, "0")
    assert build.compiled(ROOT, ROOT / "unused.so") == "LOGVAR_KERNELS=0 leaves them out"
    monkeypatch.delenv(library.SWITCH)
    monkeypatch.setenv("CC", f"{sys.executable} -c raise(SystemExit(7))")
    with pytest.raises(SystemExit, match="could not be compiled(.|\n)*LOGVAR_KERNELS=0 to install"):
        build.compiled(ROOT, ROOT / "unused.so")
    monkeypatch.setenv("CC", "no-such-compiler -x")
    assert "no C compiler (no-such-compiler)" in build.compiled(ROOT, ROOT / "unused.so")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "this is linux aarch64" in build.compiled(ROOT, ROOT / "unused.so")
