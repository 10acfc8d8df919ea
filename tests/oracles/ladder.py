"""The precision ladder: the worst rounding error of each scale, in ulp, against mpmath.

python -m tests.oracles.ladder        # prints the table of docs/precision.md
"""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np

import logvar

DTYPES = ("float64", "float32", "bfloat16", "float16")
QUANTITIES = ("log_sigma", "sigma", "kl_excess", "slope")


def _stdplus(r):
    if r == 0:
        return mp.mpf(0)
    return mp.log(-mp.lambertw(-mp.exp(-1 - r * r), 0 if r < 0 else -1).real) / 2


# log σ in exact arithmetic, typed from the definitions.
EXACT = {
    "log-variance": lambda r: r / 2,
    "log-std": lambda r: r,
    "isometric": lambda r: r / mp.sqrt(2),
    "softplus": lambda r: mp.log(mp.log1p(mp.exp(r))),
    "softplus-ln2": lambda r: mp.log(mp.log1p(mp.mpf(2) ** r) / mp.log(2)),
    "softplus-variance": lambda r: mp.log(mp.log1p(mp.exp(r))) / 2,
    "exp-linear": lambda r: r if r <= 0 else mp.log1p(r),
    "bounded": lambda r: r if r <= 0 else mp.log(2 - mp.exp(-r)),
    "stdplus": _stdplus,
    "log-precision": lambda r: -r / 2,
    "softplus-precision": lambda r: -mp.log(mp.log1p(mp.exp(r))) / 2,
    "tanh-bounded": lambda r: 5 * mp.tanh(r / 5),
    "sigmoid": lambda r: mp.log(2 / (1 + mp.exp(-r / 2))),
}


def points(name: str, dtype) -> np.ndarray:
    """Raw outputs over the safe range (at most ±80), and close to σ = 1 on both sides."""
    scale = logvar.scales.get(name)
    low, high = scale.safe_range(dtype)
    root = float(scale.raw(1.0))
    near = np.geomspace(1e-6, 0.5, 25)
    wide = np.linspace(max(low, -80.0), min(high, 80.0), 61)
    raw = np.asarray(np.concatenate([wide, root - near, root + near]), dtype)
    return raw[(raw.astype(float) >= low) & (raw.astype(float) <= high)]


def _ulp(value: mp.mpf, dtype) -> mp.mpf:
    info = jnp.finfo(dtype)
    exponent = mp.floor(mp.log(max(abs(value), mp.mpf(float(info.tiny))), 2))
    return mp.mpf(2) ** (exponent - info.nmant)


def worst_errors(name: str, dtype_name: str) -> dict[str, float]:
    """The largest error in ulp of each quantity, in compiled code."""
    dtype = jnp.dtype(dtype_name)
    scale, exact = logvar.scales.get(name), EXACT[name]
    raw = points(name, dtype)
    worst = {}
    with mp.workdps(40):
        inputs = [mp.mpf(float(r)) for r in raw]
        logs = [exact(r) for r in inputs]
        true = {
            "log_sigma": logs,
            "sigma": [mp.exp(v) for v in logs],
            "kl_excess": [(mp.expm1(2 * v) - 2 * v) / 2 for v in logs],
            "slope": [mp.diff(exact, r) for r in inputs],
        }
        for quantity, expected in true.items():
            got = np.asarray(jax.jit(getattr(scale, quantity))(raw)).astype(float)
            errors = [
                abs(mp.mpf(float(g)) - e) / _ulp(e, dtype)
                for g, e in zip(got, expected, strict=True)
                if abs(e) >= float(jnp.finfo(dtype).tiny)
            ]
            worst[quantity] = float(max(errors))
    return worst


def table() -> str:
    lines = ["| scale | dtype | log σ | σ | KL excess | slope |", "|---|---|---|---|---|---|"]
    for name in EXACT:
        for dtype in DTYPES:
            with jax.enable_x64(dtype == "float64"):
                worst = worst_errors(name, dtype)
            cells = " | ".join(f"{worst[q]:.1f}" for q in QUANTITIES)
            lines.append(f"| {name} | {dtype} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())  # noqa: T201
