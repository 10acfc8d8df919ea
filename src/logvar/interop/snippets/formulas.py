"""log σ(r) of each scale as lines of code with bare function names, correct at the extremes."""

import functools
import math

import numpy as np

from logvar import scales
from logvar.errors import LogvarError
from logvar.scales import Scale

EXPM1_MINUS = '''
def expm1_minus(u):
    """e^u - 1 - u; written plainly it is noise for small u."""
    near = abs(u) < 0.5
    small = where(near, u, 0.0 * u)
    series = 1.0 + 0.0 * u
    for n in range(17, 2, -1):
        series = 1.0 + small / n * series
    return where(near, 0.5 * small * small * series, expm1(u) - u)
'''

_STDPLUS = '''
def {name}(raw):
    """Newton's method for u = 2 log(sigma) in exp(u) - 1 - u = raw^2, in two forms."""
    low, high = at_most(raw, 1.0), at_least(raw, 1.0)
    u = 1.4142135623730951 * low - where(low < 0.0, low * low, 0.0 * low)
    ratio = high / 1.4142135623730951
    v = 2.0 * log1p(ratio)
    for _ in range(6):
        u, v = constant(u), constant(v)  # gradients enter in the last step alone
        near = abs(u) < 0.5
        small = where(near, u, 0.0 * u)
        series = 1.0 + 0.0 * u
        for n in range(17, 2, -1):
            series = 1.0 + small / n * series
        half_square = where(near, 0.5 * series, 0.5 + 0.0 * u)
        ones = 1.0 + 0.0 * u
        far = where(near, ones, u)
        far_root = sqrt(expm1(far) - far)
        root = where(near, u * sqrt(half_square), where(u < 0.0, -far_root, far_root))
        tiny = abs(u) < 1e-4
        divisor = where(tiny, ones, u)
        growth = where(tiny, 1.0 + 0.5 * u, expm1(u) / divisor)
        per_root = where(near, 2.0 * sqrt(half_square) / growth, 2.0 * root / (growth * divisor))
        u = u - (root - low) * per_root
        variance = high * high + 1.0 + v
        v = v - (v - log(variance)) / (1.0 - 1.0 / variance)
    return 0.5 * where(raw > 1.0, v, u)
'''


def definitions(scale: Scale, name: str = "log_sigma") -> str:
    """Return function definitions that end in `name(raw)`, which returns log σ.

    Raises:
        LogvarError: the scale cannot be written in a few lines of every framework.
    """
    return _definitions(scale, name)


@functools.singledispatch
def _definitions(scale: Scale, name: str) -> str:
    raise LogvarError(
        f"there is no code for {type(scale).__name__}: add its formula to "
        "logvar.interop.snippets.formulas"
    )


def _function(name: str, *lines: str) -> str:
    return "\n".join([f"\ndef {name}(raw):", *(f"    {line}" for line in lines)]) + "\n"


@_definitions.register
def _log_family(scale: scales.LogFamily, name: str) -> str:
    return _function(name, f"return {scale.rate!r} * raw")


def _softplus(name: str, beta: float, factor: str) -> str:
    shift = f" - {math.log(beta)!r}" if beta != 1 else ""
    return _function(
        name,
        f"t = {beta!r} * raw" if beta != 1 else "t = raw",
        "inner = at_least(t, -40.0)",
        "above = softplus(inner)",
        "# Far below, 1 + e^t rounds to 1; there the logarithm of softplus is t.",
        f"return {factor}(where(t < -40.0, t, log(above)){shift})",
    )


@_definitions.register
def _softplus_sigma(scale: scales.Softplus, name: str) -> str:
    return _softplus(name, scale.beta, "")


@_definitions.register
def _softplus_variance(scale: scales.SoftplusVariance, name: str) -> str:
    return _softplus(name, 1.0, "0.5 * ")


@_definitions.register
def _softplus_precision(scale: scales.SoftplusPrecision, name: str) -> str:
    return _softplus(name, 1.0, "-0.5 * ")


@_definitions.register
def _exp_linear(scale: scales.ExpLinear, name: str) -> str:
    return _function(
        name, "positive = at_least(raw, 0.0)", "return where(raw > 0.0, log1p(positive), raw)"
    )


@_definitions.register
def _bounded(scale: scales.Bounded, name: str) -> str:
    return _function(
        name,
        "negative = -at_least(raw, 0.0)",
        "saturation = -expm1(negative)",
        f"return {math.log(scale.omega / 2)!r} + where(raw > 0.0, log1p(saturation), raw)",
    )


@_definitions.register
def _tanh_bounded(scale: scales.TanhBounded, name: str) -> str:
    centre = f"{scale.centre!r} + " if scale.centre else ""
    return _function(
        name, f"t = raw / {scale._width!r}", f"return {centre}{scale.limit!r} * tanh(t)"
    )


@_definitions.register
def _sigmoid(scale: scales.Sigmoid, name: str) -> str:
    return _function(
        name, f"t = -raw / {scale.limit!r}", f"return {math.log(scale.limit)!r} - softplus(t)"
    )


@_definitions.register
def _stdplus(scale: scales.Stdplus, name: str) -> str:
    return _STDPLUS.format(name=name)


@_definitions.register
def _clamped(scale: scales.Clamped, name: str) -> str:
    if scale.straight_through:
        raise LogvarError(
            "there is no code for a straight-through clamp: its backward pass is not the "
            "derivative of its forward pass; expected a smooth clamp, or hard=True"
        )
    inner = "unbounded_" + name
    bounds = f"low, high = {_number(scale.low)}, {_number(scale.high)}"
    if scale.hard:
        body = _function(name, bounds, f"x = {inner}(raw)", "return between(x, low, high)")
    else:
        body = _function(
            name,
            f"{bounds}  # of log(sigma); smooth, so every raw output keeps a gradient",
            f"x = {inner}(raw)",
            "from_low, from_high = x - low, x - high",
            "to_low, to_high = -from_low, -from_high",
            "below = low + softplus(from_low) - softplus(from_high)",
            "above = high + softplus(to_low) - softplus(to_high)",
            "return where(x < 0.5 * (low + high), below, above)",
        )
    return _definitions(scale.scale, inner) + "\n" + body


@_definitions.register
def _floored(scale: scales.Floored, name: str) -> str:
    inner = "unfloored_" + name
    factor, divisor = ("", "") if scale.of == "sigma" else ("2.0 * ", "0.5 * ")
    body = _function(
        name,
        f"floor = {_number(np.log(scale.minimum))}  # log of the least {scale.of}",
        f"above = {factor}{inner}(raw) - floor",
        f"return {divisor}(floor + softplus(above))",
    )
    return _definitions(scale.scale, inner) + "\n" + body


def _number(value: object) -> str:
    plain = np.asarray(value, float)
    return repr(float(plain)) if plain.ndim == 0 else f"array({plain.tolist()!r})"
