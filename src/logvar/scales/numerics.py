"""Elementary functions whose plain formulas lose digits in floating point."""

import decimal
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

Values = Float[Array, "..."]


def floating(values: ArrayLike) -> Values:
    """Convert to a floating-point array; integers and booleans become the default float."""
    array = jnp.asarray(values)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def widely(function: Callable[..., Values], *values: ArrayLike) -> Values:
    """Apply an elementwise function in at least float32 and round its result once.

    The result has the dtype of the values if they share one, and otherwise the widest of them.
    """
    arrays = [floating(value) for value in values]
    narrow = {array.dtype for array in arrays if jnp.finfo(array.dtype).bits < 32}
    wide = [array.astype(jnp.float32) if array.dtype in narrow else array for array in arrays]
    result = function(*wide)
    # Python scalars have no dtype of their own.
    insisting = {array.dtype for array in arrays if not array.weak_type}
    return result.astype(next(iter(narrow))) if insisting == narrow != set() else result


@jax.custom_jvp
def expm1_minus(u: Values) -> Values:
    """e^u − 1 − u without cancellation, with the exact derivative e^u − 1.

    The plain formula is noise for small u: in float32 at u = 1e-4 it is 232 % wrong, or 0. For
    |u| < 1 the Taylor series is summed to float64's precision; elsewhere subtraction is safe.
    """
    small = jnp.where(jnp.abs(u) < 1, u, 0.0)
    terms = 18 if u.dtype == jnp.float64 else 10
    # u²/2 · (1 + u/3 · (1 + u/4 · (1 + …))): every factor is close to one.
    series = jnp.ones_like(small)
    for n in range(terms, 2, -1):
        series = 1 + small / n * series
    return jnp.where(jnp.abs(u) < 1, 0.5 * small * small * series, jnp.expm1(u) - u)


@expm1_minus.defjvp
def _expm1_minus_jvp(primals: tuple[Values], tangents: tuple[Values]) -> tuple[Values, Values]:
    (u,), (du,) = primals, tangents
    return expm1_minus(u), jnp.expm1(u) * du


def softplus(t: Values) -> Values:
    """log(1 + e^t), exact to rounding at both ends; its derivative is sigmoid(t)."""
    return jax.nn.softplus(t)


def combined_by_halves(
    values: Values, combine: Callable[[Values, Values], Values] = jnp.add
) -> Float[Array, "folded"]:
    """Combine the values up to eightfold, adding half onto half, as far as their number is even.

    Sums over many numbers start like this: XLA sums a row one number after another, each addition
    waiting for the last, while halves are added at the full width of the machine. The rounding
    error is smaller, too.
    """
    flat = values.reshape(-1)
    for _ in range(3):
        half, odd = divmod(flat.size, 2)
        if odd or not half:
            break
        flat = combine(flat[:half], flat[half:])
    return flat


@jax.custom_jvp
def sum_of_softplus(t: Values) -> Float[Array, ""]:
    """Σ softplus(t) over all entries, with one logarithm for up to eight of them.

    Σ log1p(e^{−|t|}) is the logarithm of a product, and q in 1 + q = (1 + a)(1 + b) is a + b + ab,
    which is accurate however small a and b are. The logarithms are half the cost of a Bernoulli
    likelihood.
    """
    q = combined_by_halves(jnp.exp(-jnp.abs(t)), lambda a, b: a + b + a * b)
    return jnp.sum(combined_by_halves(jnp.maximum(t, 0.0)) + jnp.log1p(q))


@sum_of_softplus.defjvp
def _sum_of_softplus_jvp(primals: tuple[Values], tangents: tuple[Values]) -> tuple[Values, Values]:
    (t,), (tangent,) = primals, tangents
    return sum_of_softplus(t), jnp.sum(jax.nn.sigmoid(t) * tangent)


@functools.cache
def softplus_root(beta: float) -> tuple[float, float]:
    """Return the r with softplus(βr) = β, as a float32 and the rest: their sum is good to 1e-24.

    r is needed beyond float64's precision because its distance to r matters: half an ulp of the
    root is 500,000 ulp of log σ at a distance of 1e-6.
    """
    if beta == math.log(2):
        return 0.0, 0.0  # this float means ln 2, whose root is 0
    with decimal.localcontext(prec=50):
        exact = decimal.Decimal(beta)
        root = (exact.exp() - 1).ln() / exact
        high = float(np.float32(float(root)))
        return high, float(root - decimal.Decimal(high))


def expm1_from_root(raw: Values, beta: float) -> Values:
    """expm1(β·(r − root)) near the root of log softplus(βr)/β.

    r − high is exact there. The rest enters through e^{a+b} − 1 = (e^a − 1)·e^b + (e^b − 1),
    because XLA would merge (r − high) − rest back into one subtraction and lose it (8,000 ulp in
    float32, measured).
    """
    high, rest = softplus_root(beta)
    return jnp.expm1(beta * (raw - high)) * math.exp(-beta * rest) + math.expm1(-beta * rest)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def log_softplus_ratio(raw: Values, beta: float) -> Values:
    """log(softplus(β·r) / β), accurate for large and small values and near its zero.

    Three formulas are combined: βr + log(log1p(x)/x) with x = e^{βr} for r ≪ 0, where softplus
    itself would underflow; log1p of (σ − 1) near σ = 1, where a plain logarithm would keep only
    the absolute error; and the plain logarithm elsewhere.
    """
    t = beta * raw
    tiny = float(jnp.finfo(raw.dtype).tiny)
    x = jnp.maximum(jnp.exp(jnp.minimum(t, 0.0)), tiny)
    far_below = t + jnp.log(jnp.log1p(x) / x) - math.log(beta)

    # softplus(t) = β at t = t₁, and σ − 1 = log1p((1 − e^{−β})·expm1(t − t₁)) / β.
    root, _ = softplus_root(beta)
    near = jnp.abs(beta * (raw - root)) < 0.5
    growth = expm1_from_root(jnp.where(near, raw, root), beta)
    sigma_minus_one = jnp.log1p(-math.expm1(-beta) * growth) / beta
    elsewhere = jnp.log(softplus(jnp.maximum(t, -1.0)) / beta)
    return jnp.where(near, jnp.log1p(sigma_minus_one), jnp.where(t < -1, far_below, elsewhere))


@log_softplus_ratio.defjvp
def _log_softplus_ratio_jvp(
    beta: float, primals: tuple[Values], tangents: tuple[Values]
) -> tuple[Values, Values]:
    (raw,), (tangent,) = primals, tangents
    return log_softplus_ratio(raw, beta), log_softplus_slope(raw, beta) * tangent


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def log_softplus_slope(raw: Values, beta: float) -> Values:
    """β·sigmoid(βr) / softplus(βr): d log softplus(βr) / dr, → β for r ≪ 0 and 1/r for r ≫ 0."""
    t = beta * raw
    tiny = float(jnp.finfo(raw.dtype).tiny)
    x = jnp.maximum(jnp.exp(jnp.minimum(t, 0.0)), tiny)
    below = (x / jnp.log1p(x)) / (1 + x)
    above = jax.nn.sigmoid(t) / softplus(jnp.maximum(t, 0.0))
    return beta * jnp.where(t < 0, below, above)


@log_softplus_slope.defjvp
def _log_softplus_slope_jvp(
    beta: float, primals: tuple[Values], tangents: tuple[Values]
) -> tuple[Values, Values]:
    """d′ = d·(β·sigmoid(−βr) − d); differentiating the quotient would give 0/0 for r ≪ 0."""
    (raw,), (tangent,) = primals, tangents
    slope = log_softplus_slope(raw, beta)
    return slope, slope * (beta * jax.nn.sigmoid(-beta * raw) - slope) * tangent


def by_logarithm(value: Values, log_value: Values) -> Values:
    """`value`, differentiated as exp(log_value): for formulas whose own derivative overflows."""
    return jax.lax.stop_gradient(value) * jnp.exp(log_value - jax.lax.stop_gradient(log_value))


@jax.custom_jvp
def log_sigmoid_ratio(t: Values) -> Values:
    """log(2·sigmoid(t)), accurate near its zero at t = 0 and for t ≪ 0; derivative sigmoid(−t)."""
    near = jnp.maximum(t, -1.0)
    return jnp.where(
        t > -1, -jnp.log1p(jnp.expm1(-near) / 2), math.log(2) - softplus(-jnp.minimum(t, -1.0))
    )


@log_sigmoid_ratio.defjvp
def _log_sigmoid_ratio_jvp(primals: tuple[Values], tangents: tuple[Values]):
    (t,), (tangent,) = primals, tangents
    return log_sigmoid_ratio(t), jax.nn.sigmoid(-t) * tangent


@jax.custom_jvp
def tanh(x: Values) -> Values:
    """tanh whose derivative 4/(e^x + e^{−x})² stays positive where 1 − tanh² rounds to zero."""
    return jnp.tanh(x)


@tanh.defjvp
def _tanh_jvp(primals: tuple[Values], tangents: tuple[Values]) -> tuple[Values, Values]:
    (x,), (tangent,) = primals, tangents
    decay = jnp.exp(-2 * jnp.abs(x))
    return tanh(x), 4 * decay / jnp.square(1 + decay) * tangent
