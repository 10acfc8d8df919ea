"""Write the catalogue of scales, docs/scales.md, from the registry.

python -m logvar.catalogue.scales docs/scales.md
"""

import math
import sys
from pathlib import Path

import jax.numpy as jnp

from logvar.scales.facts import DTYPES, SIGMAS, Facts, facts
from logvar.scales.registry import REGISTRY

_OPENING = """# The catalogue of scales

<!-- Written by `python -m logvar.catalogue.scales docs/scales.md`; change the registry instead. -->

A scale maps a raw network output r to σ > 0. Choose one by name, `--scale softplus` or
`VAE(scale="softplus")`, with settings, `softplus(beta=2)`, or wrapped,
`clamped(softplus, low=-5, high=3)`. `logvar scales NAME` prints these facts,
`logvar scales NAME --code torch` the code, and `logvar scales NAME NAME --plot FILE` plots them.

- **d** = d log σ/dr is the slope: a step of size η in a free r moves log σ by about η|d| under Adam
  and by ηd²·∂L/∂log σ under SGD. The Fisher information of r is 2d², and KL″ = 2d² at σ = 1.
- **Convex** says whether KL(N(μ, σ(r)²) ‖ N(0, 1)) is convex in r.
- **Safe** raw outputs keep σ² finite and positive; measured on CPU, where compiled float32 and
  bfloat16 code flushes subnormals. Inside, log σ, σ, slope, entropy, KL and their gradients are
  finite. `–` means that the scale does not reach this σ.
"""


def page() -> str:
    """Return the page as Markdown."""
    plain = [name for name, entry in REGISTRY.items() if not entry.wraps]
    table = [facts(name) for name in plain]
    own = [each for each in table if not each.preset]
    presets = [each for each in table if each.preset]
    parts = [
        _OPENING,
        "## Scales\n",
        _facts_table(own),
        "\n### Safe raw outputs\n",
        _safe_table(own),
        "\n## Presets\n",
        "They have exactly the constants of the code they are named after. pyro starts at σ = 0.1, "
        "as\nPyro's and NumPyro's guides do.\n",
        _facts_table(presets),
        "\n### Safe raw outputs of presets\n",
        _safe_table(presets),
        _CLOSING,
    ]
    return "\n".join(parts)


_CLOSING = """
## Wrappers

- `clamped(SCALE, low=…, high=…)` keeps log σ between two bounds, smoothly: every raw output keeps a
  gradient. `hard=True` clips as usual, with gradient 0 outside; `straight_through=True` clips
  and passes only gradients that lead back inside.
- `floored(SCALE, minimum=…)` is σ + minimum; with `of='variance'` it is √(σ² + minimum).

Bounds may be lists, one value for each latent.

## Not registered

σ = r and σ² = r need r > 0, so they need a projection after every step, and the slope of their KL
is unbounded as r → 0. `logvar.probe` recognizes them, because existing code uses them.
"""


def _facts_table(table: list[Facts]) -> str:
    at = " / ".join(f"{sigma:g}" for sigma in SIGMAS)
    lines = [
        f"| name | σ(r) | r at σ = 1 | σ reaches | d at σ = {at} | KL″ at σ = 1 | convex | from |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in table:
        formula = each.formula.replace("|", "\\|")
        slopes = " / ".join(_number(slope) for slope in each.slopes)
        low, high = each.bounds
        lines.append(
            f"| {each.name} | {formula} | {_number(each.raw_at_one)} | "
            f"({_number(low)}, {_number(high)}) | {slopes} | {_number(each.curvature)} | "
            f"{'yes' if each.is_convex else 'no'} | {each.reference} |"
        )
    return "\n".join(lines) + "\n"


def _safe_table(table: list[Facts]) -> str:
    lines = [f"| name | {' | '.join(DTYPES)} |", "|---|---|---|---|"]
    for each in table:
        cells = " | ".join(
            f"{_bound(low, dtype)} … {_bound(high, dtype)}"
            for dtype, (low, high) in zip(DTYPES, each.safe_ranges, strict=True)
        )
        lines.append(f"| {each.name} | {cells} |")
    return "\n".join(lines) + "\n"


def _bound(value: float, dtype: str) -> str:
    """Format a bound; the largest number of the dtype means that there is none."""
    largest = float(jnp.finfo(dtype).max)
    return _number(math.copysign(math.inf, value) if abs(value) == largest else value)


def _number(value: float | None, digits: int = 4) -> str:
    if value is None:
        return "–"
    if value in (float("inf"), float("-inf")):
        return "∞" if value > 0 else "−∞"
    if abs(value) < 1e-12:
        return "0"
    return f"{value:.{digits}g}".replace("-", "−")


def main() -> None:
    """Write the page to the file named on the command line."""
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
