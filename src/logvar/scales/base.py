"""The contract of a scale: how a raw network output r becomes a standard deviation σ."""

import abc
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from logvar.errors import LogvarError
from logvar.scales.numerics import Values, expm1_minus, floating, widely

Bound = float | Float[Array, "..."] | Float[np.ndarray, "..."] | np.floating


def as_bound(value: ArrayLike | list | tuple) -> Bound:
    """Convert a number to float and anything longer to an array, as fields of scales store them."""
    return float(value) if isinstance(value, (int, float)) else jnp.asarray(value, float)


class Scale(eqx.Module):
    """r ↦ σ(r) > 0, elementwise.

    A scale defines log σ as a function of the raw output. Everything else follows from it, or is
    overridden if another formula rounds better. The public methods are final: they accept any
    array, compute half precision in float32 and round once, and call the hook of the same name
    with a leading underscore. A new scale is one class with `_log_sigma`, `_raw_of`, `bounds`,
    `is_convex` and `reference`, and one line in the registry.

    Fields may be arrays that broadcast against the raw outputs, so a bound can differ by feature.

    Example:
        >>> import logvar
        >>> scale = logvar.scales.get("log-variance")
        >>> float(scale.sigma(0.0)), float(scale.slope(3.0)), float(scale.raw(1.0))
        (1.0, 0.5, 0.0)
    """

    is_convex: ClassVar[bool]
    """Whether KL(N(μ, σ(r)²) ‖ N(0, 1)) is convex in r."""
    reference: ClassVar[str]
    """The source of the parameterization."""
    is_settings: ClassVar[bool] = True
    """Bounds and rates are settings, even if they are arrays: they are neither trained nor saved
    with the weights."""

    @abc.abstractmethod
    def _log_sigma(self, raw: Values) -> Values:
        """Return log σ(r), differentiable: the definition of the scale."""

    @abc.abstractmethod
    def _raw_of(self, sigma: Values) -> Values:
        """Return the r with σ(r) = sigma; values outside `bounds` may give NaN."""

    @property
    @abc.abstractmethod
    def bounds(self) -> tuple[Bound, Bound]:
        """(σ_min, σ_max), the open interval of standard deviations that some r reaches."""

    def _sigma(self, raw: Values) -> Values:
        return jnp.exp(self._log_sigma(raw))

    def _variance(self, raw: Values) -> Values:
        return jnp.exp(2 * self._log_sigma(raw))

    def _kl_excess(self, raw: Values) -> Values:
        log_sigma = self._log_sigma(raw)
        near = jnp.abs(log_sigma) < 0.5
        # Far from σ = 1 nothing cancels, and σ² rounds better than exp(2 log σ).
        return jnp.where(
            near,
            0.5 * expm1_minus(2 * jnp.where(near, log_sigma, 0.0)),
            0.5 * (self._variance(raw) - 1) - log_sigma,
        )

    def _slope(self, raw: Values) -> Values:
        return jax.jvp(self._log_sigma, (raw,), (jnp.ones_like(raw),))[1]

    def log_sigma(self, raw: ArrayLike) -> Values:
        """log σ(r), computed from r without forming σ."""
        return widely(self._log_sigma, raw)

    def sigma(self, raw: ArrayLike) -> Values:
        """The standard deviation σ(r)."""
        return widely(self._sigma, raw)

    def variance(self, raw: ArrayLike) -> Values:
        """The variance σ(r)²."""
        return widely(self._variance, raw)

    def kl_excess(self, raw: ArrayLike) -> Values:
        """½(σ² − 1) − log σ in nats: the scale's part of KL(N(μ, σ²) ‖ N(0, 1)).

        Nonnegative, zero at σ = 1, and accurate there: collapsed latents have true KLs of 1e-6.
        """
        return widely(self._kl_excess, raw)

    def slope(self, raw: ArrayLike) -> Values:
        """d = d log σ / dr. The Fisher information of r is 2d²; for a free r one step of size η
        moves log σ by about η|d| under Adam and by ηd²·∂L/∂log σ under SGD."""
        return widely(self._slope, raw)

    def raw(self, sigma: ArrayLike) -> Values:
        """Return the raw output with σ(raw) = sigma, which is also the bias to start training at.

        Raises:
            LogvarError: a concrete sigma is outside `bounds`. Under `jax.jit`, where values are
                unknown, those entries are NaN.
        """
        value = floating(sigma)
        if not isinstance(value, jax.core.Tracer):
            self.check_reach(value)
        low, high = self.bounds

        def inside(wide: Values) -> Values:
            reachable = (wide > low) & (wide < high)
            return jnp.where(reachable, self._raw_of(wide), jnp.nan)

        return widely(inside, value)

    def check_reach(self, sigma: ArrayLike) -> None:
        """Check that concrete values lie within `bounds`, on the host.

        Raises:
            LogvarError: one does not.
        """
        low, high = self.bounds
        concrete = np.asarray(sigma, np.float64)
        outside = ~((concrete > np.asarray(low)) & (concrete < np.asarray(high)))
        if outside.any():
            got = np.broadcast_to(concrete, outside.shape)[outside].flat[0]
            raise LogvarError(
                f"sigma {got:g} is out of reach of {type(self).__name__}: expected values "
                f"between {np.min(low):g} and {np.max(high):g} (both excluded); choose such "
                "a value or another scale"
            )

    def nearest(self, sigma: ArrayLike) -> Values:
        """Return sigma, or where it is out of reach the nearest σ a ten-thousandth within `bounds`.

        It is at least 1e-28, also where the scale has no lower bound.
        """
        low, high = self.bounds
        lowest = jnp.maximum(low * (1 + 1e-4), 1e10 * float(jnp.finfo(jnp.float32).tiny))
        return jnp.clip(sigma, lowest, high * (1 - 1e-4))

    def middle(self) -> float:
        """Return σ = 1, or a σ well inside the bounds if they leave 1 out."""
        low, high = (np.asarray(bound, float) for bound in self.bounds)
        least, most = float(np.max(low)), float(np.min(high))
        if least < 1 < most:
            return 1.0
        if np.isinf(most):
            return 2 * least
        return most / 2 if least == 0 else float(np.sqrt(least * most))

    def safe_range(self, dtype: DTypeLike = jnp.float32) -> tuple[float, float]:
        """Return the interval of raw outputs on which σ² is finite and positive in this dtype.

        Found by bisection over the floating-point numbers of the dtype, in compiled code on the
        current backend, because it depends on the backend: XLA on CPU, for example, flushes
        subnormal float32 to zero. Inside the interval log σ, σ, slope, entropy, kl_excess and
        their gradients are finite. Outside it σ² is 0 or infinite, and densities are infinite or
        NaN rather than wrong. Values are in raw units, both ends included.
        """
        dtype = jnp.dtype(dtype)
        if dtype == jnp.float64 and not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
            raise LogvarError("float64 is off in JAX: set jax_enable_x64 to ask for its safe range")
        return -_largest_safe(self, dtype, -1), _largest_safe(self, dtype, 1)


@eqx.filter_jit  # by equal settings, not by scale: one program for all scales that are alike
def _is_safe(scale: Scale, raw: Array | np.ndarray) -> Array:
    variance = scale.variance(raw)
    return jnp.all((variance > 0) & jnp.isfinite(variance))


def _largest_safe(scale: Scale, dtype: np.dtype, sign: int) -> float:
    """Bisect over magnitudes in the order of their bit patterns, which is their numeric order."""
    bits = np.dtype(f"uint{8 * dtype.itemsize}")
    low, high = 0, int(np.asarray(jnp.finfo(dtype).max, dtype).view(bits))

    def value(pattern: int) -> np.ndarray:
        magnitude = np.asarray(pattern, bits).view(dtype)
        return np.asarray(sign * magnitude, dtype)

    if _is_safe(scale, value(high)):
        return abs(float(value(high)))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _is_safe(scale, value(middle)) else (low, middle)
    return abs(float(value(low)))
