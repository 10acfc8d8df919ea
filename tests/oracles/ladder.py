"""The precision ladder: the worst rounding error of each scale, in ulp, against mpmath.

python -m tests.oracles.ladder        # prints the table of docs/precision.md
"""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np

import logvar

DTYPES = ("float64", "float32", "bfloat16", "float16")
MEAN, Z = 0.75, 1.25
"""The posterior mean and the point for the columns KL and log density; exact in every dtype."""
HALF_LOG_TWO_PI = mp.log(2 * mp.pi) / 2


def _members(scale):
    """What each column of the table computes, as a function of the raw output."""

    def normal(raw):
        return logvar.Normal(jnp.asarray(MEAN, raw.dtype), raw, scale)

    return {
        "log_sigma": scale.log_sigma,
        "sigma": scale.sigma,
        "variance": scale.variance,
        "kl_excess": scale.kl_excess,
        "slope": scale.slope,
        "entropy": lambda raw: normal(raw).entropy(),
        "log_prob": lambda raw: normal(raw).log_prob(jnp.asarray(Z, raw.dtype)),
        "kl": lambda raw: normal(raw).kl(),
    }


QUANTITIES = tuple(_members(logvar.scales.get("log-std")))


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
    "diffusers": lambda r: min(max(r, -30), 20) / 2,
    "nvae": lambda r: mp.log(mp.exp(5 * mp.tanh(r / 5)) + mp.mpf("0.01")),
    "scvi": lambda r: mp.log(mp.exp(r) + mp.mpf("1e-4")) / 2,
    "tfp": lambda r: mp.log(mp.log1p(mp.exp(r)) + mp.mpf("1e-5")),
    "dreamer-v2": lambda r: mp.log(2 / (1 + mp.exp(-r / 2)) + mp.mpf("0.1")),
    "sac": lambda r: min(max(r, -20), mp.mpf(2)),
    "cleanrl": lambda r: -5 + mp.mpf("3.5") * (mp.tanh(r) + 1),
    "clamped(log-variance, low=-4, high=3)": lambda r: (
        r / 2 + mp.log1p(mp.exp(-4 - r / 2)) - mp.log1p(mp.exp(r / 2 - 3))
    ),
}
SUMS = {name for name in EXACT if name in ("nvae", "scvi", "tfp", "dreamer-v2", "cleanrl")
        or name.startswith("clamped")}  # fmt: skip
"""Whose log σ is a sum of terms near 1 that cancel at σ = 1, where no float holds its zero.

(vdvae, efficient-vdvae and pyro are log-std, softplus-ln2 and softplus under another name.)"""


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


def _exact_values(name: str, inputs: list[mp.mpf]) -> dict[str, list[tuple[mp.mpf, mp.mpf]]]:
    """(true value, the size by which its rounding is judged) of each quantity.

    Entropy and log density are sums that may cancel, so they are judged by their largest term.
    So is log σ of the scales in SUMS, and their KL excess by what such an error makes of it, which
    is |log σ| times as much. Everything else is judged by itself.
    """
    exact = EXACT[name]
    logs = [exact(r) for r in inputs]
    one = mp.mpf(1)

    def plain(values):
        return [(v, abs(v)) for v in values]

    half = mp.mpf(1) / 2
    excess = [(mp.expm1(2 * v) - 2 * v) / 2 for v in logs]
    squares = [half * ((mp.mpf(Z) - MEAN) / mp.exp(v)) ** 2 for v in logs]
    return {
        "log_sigma": [(v, max(abs(v), one)) for v in logs] if name in SUMS else plain(logs),
        "sigma": plain(mp.exp(v) for v in logs),
        "variance": plain(mp.exp(2 * v) for v in logs),
        "kl_excess": [(e, max(e, abs(v))) for e, v in zip(excess, logs, strict=True)]
        if name in SUMS
        else plain(excess),
        "slope": plain(mp.diff(exact, r) for r in inputs),
        "entropy": [(v + half + HALF_LOG_TWO_PI, max(abs(v), one)) for v in logs],
        "log_prob": [
            (-q - v - HALF_LOG_TWO_PI, max(q, abs(v), one))
            for q, v in zip(squares, logs, strict=True)
        ],
        "kl": plain(v + half * mp.mpf(MEAN) ** 2 for v in excess),
    }


def worst_errors(name: str, dtype_name: str) -> dict[str, float]:
    """The largest error in ulp of each quantity, in compiled code."""
    dtype = jnp.dtype(dtype_name)
    scale = logvar.scales.get(name)
    raw = points(name, dtype)
    low, high = float(jnp.finfo(dtype).tiny), float(jnp.finfo(dtype).max)
    members = _members(scale)
    got = jax.jit(lambda raw: {key: member(raw) for key, member in members.items()})(raw)
    worst = {}
    with mp.workdps(100):
        true = _exact_values(name, [mp.mpf(float(r)) for r in raw])
        for quantity, expected in true.items():
            errors = [
                abs(mp.mpf(float(g)) - value) / _ulp(size, dtype)
                for g, (value, size) in zip(got[quantity], expected, strict=True)
                if low <= abs(value) <= high
            ]
            worst[quantity] = float(max(errors))
    return worst


def table() -> str:
    lines = [
        "| scale | dtype | log σ | σ | σ² | KL excess | slope | entropy | log density | KL |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in EXACT:
        for dtype in DTYPES:
            with jax.enable_x64(dtype == "float64"):
                worst = worst_errors(name, dtype)
            cells = " | ".join(f"{worst[q]:.1f}" for q in QUANTITIES)
            lines.append(f"| {name} | {dtype} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())  # noqa: T201
