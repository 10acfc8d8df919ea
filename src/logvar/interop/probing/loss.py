"""Read from someone's loss by which factors its two terms are off from the negative ELBO."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy import special

from logvar.errors import LogvarError
from logvar.interop.probing.calling import Called
from logvar.interop.probing.candidates import Candidate, candidates
from logvar.interop.probing.readings import Reading

ROWS, FEATURES, LATENTS = 7, 11, 5
"""Different primes, so that a mean over one of them is not taken for a mean over another."""
_DRAWS = 12
OF_LOSS = "loss's reconstruction"


@dataclasses.dataclass(frozen=True)
class LossFactors:
    """The loss as reconstruction·Σ −log p(x | z) + kl·Σ KL + a constant, sums over all rows."""

    reconstruction: float
    kl: float

    @property
    def beta(self) -> float:
        """The β of the ELBO that this loss amounts to: 1 for the ELBO itself."""
        if not self.reconstruction:
            return math.inf
        return self.kl / self.reconstruction


@dataclasses.dataclass(frozen=True)
class LossReading:
    """The findings about a loss."""

    readings: list[Reading]
    problems: list[str]
    factors: LossFactors | None


@dataclasses.dataclass(frozen=True)
class _Sizes:
    rows: int
    features: int
    latents: int


_RECONSTRUCTIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "binary cross-entropy of logits": lambda x, out: np.logaddexp(0.0, out) - x * out,
    "binary cross-entropy of probabilities": lambda x, out: (
        -special.xlogy(x, out) - special.xlog1py(1 - x, -out)
    ),
    "half the squared error (a Normal of σ = 1)": lambda x, out: 0.5 * (x - out) ** 2,
    "absolute error (a Laplace of scale 1)": lambda x, out: np.abs(x - out),
}


def read_loss(
    loss: Called, shape: tuple[int, ...], latent_dim: int, grid: np.ndarray
) -> LossReading:
    """Fit loss = a·reconstruction + b·KL + c, and name a and b.

    The loss is called with random inputs of 7 rows. First the decoder's outputs vary and all else
    is fixed, then the mean, then the raw outputs, so that each factor is read from differences of
    the loss, which no constant enters.

    Args:
        loss: loss(x, outputs, mean, raw), a number, or one for each row.
        shape: the shape of one example.
        latent_dim: the number of latents.
        grid: raw outputs at which the σ found is returned.

    Raises:
        LogvarError: the loss cannot be called that way, or a size is not positive.
    """
    if latent_dim < 1 or not shape or min(shape) < 1:
        raise LogvarError(
            f"probe got shape {shape} and latent_dim {latent_dim}: expected positive sizes"
        )
    sizes = _Sizes(ROWS, math.prod(shape), latent_dim)
    rng = np.random.default_rng(0)
    x = rng.uniform(0.1, 0.9, (ROWS, *shape))
    outputs = rng.uniform(0.1, 0.9, (_DRAWS, ROWS, *shape))
    means = rng.uniform(-2.0, 2.0, (_DRAWS, ROWS, latent_dim))
    # Away from 0, where half the catalogue is defined for positive raw outputs only.
    raws = rng.uniform(0.2, 1.8, (_DRAWS, ROWS, latent_dim))

    def at(out: np.ndarray, mean: np.ndarray, raw: np.ndarray) -> float:
        return float(np.sum(loss(x, out, mean, raw)))

    by_output = np.array([at(one, means[0], raws[0]) for one in outputs])
    by_mean = np.array([at(outputs[0], one, raws[0]) for one in means])
    by_raw = np.array([at(outputs[0], means[0], one) for one in raws])
    if not all(np.isfinite(values).all() for values in (by_output, by_mean, by_raw)):
        problem = "loss: it is not finite for ordinary inputs: outputs and x between 0.1 and 0.9"
        return LossReading([], [problem], None)
    tolerance = 1e-6 if loss.precision == np.float64 else 2e-3

    kinds = {
        name: np.array([formula(x, one).sum() for one in outputs])
        for name, formula in _RECONSTRUCTIONS.items()
    }
    kind, a = _best(by_output, kinds, tolerance)
    _, b = _best(by_mean, {"½μ²": 0.5 * np.sum(means**2, axis=(1, 2))}, tolerance)
    if a is None:
        problem = (
            f"loss: with the decoder's outputs it changes like none of {', '.join(kinds)}, so its "
            "factor is unknown"
        )
        return LossReading([Reading(OF_LOSS, None, tolerance)], [problem], None)
    if b is None:
        problem = "loss: with the mean it does not change like ½μ², the mean's part of the KL"
        return LossReading([Reading(OF_LOSS, None, tolerance, (kind,))], [problem], None)
    factors = LossFactors(a, b)
    of_sigma, problems = _read_sigma(by_raw, raws, b, tolerance, grid)
    opening = Reading(
        OF_LOSS,
        None,
        tolerance,
        (f"{_times(a, sizes)}{kind}",),
        f"differences of the loss between {_DRAWS} sets of outputs",
    )
    of_sigma.evidence += f"; its factor is {_times(b, sizes) or '1 '}".rstrip(" ·")
    return LossReading([opening, of_sigma], [*_mistakes(factors, kind, sizes), *problems], factors)


def _best(
    values: np.ndarray, shapes: dict[str, np.ndarray], tolerance: float
) -> tuple[str, float | None]:
    """Return the shape that the values are a multiple of, up to a constant, and the factor."""
    centered = values - values.mean()
    scale = np.abs(values).max() * (1e-9 if tolerance < 1e-5 else 1e-5)
    if np.abs(centered).max() <= scale:
        return next(iter(shapes)), 0.0
    for name, shape in shapes.items():
        direction = shape - shape.mean()
        factor = float(centered @ direction / (direction @ direction))
        rest = np.abs(centered - factor * direction).max()
        if rest <= tolerance * np.abs(centered).max() + scale:
            return name, factor
    return "", None


def _read_sigma(
    values: np.ndarray, raws: np.ndarray, b: float, tolerance: float, grid: np.ndarray
) -> tuple[Reading, list[str]]:
    """Read the σ of the KL, and whether σ's part of it has the factor of the mean's."""
    reading = Reading("loss's KL", None, 5e-5)
    there, on_grid = candidates(raws), candidates(grid)
    parts = [_parts(candidate) for candidate in there]
    for candidate, (square, logarithm) in zip(there, parts, strict=True):
        found, factor = _best(values, {"σ": square - logarithm}, tolerance)
        if not found or not factor:
            continue
        reading.means = (candidate.name,)
        reading.log_sigma = next(c.log_sigma for c in on_grid if c.name == candidate.name)
        reading.evidence = "½(σ² − 1) − log σ under this reading, and no other, is how it changes"
        if abs(factor - b) <= max(1e-3, 10 * tolerance) * abs(b):
            return reading, []
        problem = f"loss: the KL's σ counts {factor / b:.4g} times as much as its mean" if b else (
            "loss: the KL's mean is missing, ½μ²"
        )  # fmt: skip
        return reading, [problem]
    if not b:
        reading.evidence = "it is the same for any mean and raw output"
        return reading, []
    for i, (square, _) in enumerate(parts):
        for j, (_, logarithm) in enumerate(parts):
            found, factor = _best(values, {"σ": square - logarithm}, tolerance)
            if i != j and found and factor and abs(factor - b) <= 1e-2 * abs(b):
                one, other = there[i].name, there[j].name
                reading.means = (f"σ² of {one}, log σ of {other}",)
                problem = (
                    f"loss: the KL's σ² reads the raw output as {one}, its log σ as {other}, so it "
                    "is the KL of no Normal"
                )
                return reading, [problem]
    reading.evidence = "how it changes fits no known scale"
    return reading, []


def _parts(candidate: Candidate) -> tuple[np.ndarray, np.ndarray]:
    """Return Σ ½σ² and Σ log σ of each draw."""
    log_sigma = candidate.log_sigma
    return 0.5 * np.exp(2 * log_sigma).sum((1, 2)), log_sigma.sum((1, 2))


def _mistakes(found: LossFactors, kind: str, sizes: _Sizes) -> list[str]:
    """Name what makes a and b differ from each other, one sentence each."""
    a, b = found.reconstruction, found.kl
    if not a:
        return ["loss: it does not depend on the decoder's outputs: there is no reconstruction"]
    if not b:
        return ["loss: it does not depend on the mean: there is no KL, so β = 0: an autoencoder"]
    problems = []
    if a < 0 and b < 0:
        problems.append(
            "loss: it is the ELBO and not its negative, so that minimizing it makes it worse: "
            "change its sign"
        )
    elif a < 0:
        problems.append(
            "loss: its reconstruction has the wrong sign: minimizing it makes x less probable"
        )
    elif b < 0:
        problems.append(
            "loss: its KL has the wrong sign: minimizing it drives q(z | x) away from the prior"
        )
    a, b = abs(a), abs(b)
    beta = b / a
    if math.isclose(beta, 1, rel_tol=5e-3):
        return problems
    whole = f"which amounts to β = {beta:.4g}"
    named_a, named_b = _named(a, sizes), _named(b, sizes)
    if named_a is None or named_b is None:
        return [*problems, f"loss: the KL counts {beta:.4g} times as much as in the ELBO, {whole}"]
    # What both terms share, such as a mean over rows, is no mistake.
    only_a = [name for name in named_a if name not in named_b]
    only_b = [name for name in named_b if name not in named_a]
    sentences = [_sentence("reconstruction", name, kind, sizes) for name in only_a]
    sentences += [_sentence("KL", name, kind, sizes) for name in only_b]
    return [*problems, *(f"loss: {sentence}, {whole}" for sentence in sentences)]


_MEANS = ("rows", "features", "latents")


def _named(factor: float, sizes: _Sizes) -> tuple[str, ...] | None:
    """Write a factor as ½ or 2, over a mean over rows, features or latents; None if it is not."""
    size = {name: getattr(sizes, name) for name in _MEANS}
    for over in (
        (), ("rows",), ("features",), ("latents",), ("rows", "features"), ("rows", "latents"),
    ):  # fmt: skip
        for name, extra in (("", 1.0), ("halved", 0.5), ("doubled", 2.0)):
            expected = extra / math.prod(size[one] for one in over)
            if math.isclose(factor, expected, rel_tol=5e-3):
                return (*over, *([name] if name else []))
    return None


def _sentence(term: str, mistake: str, kind: str, sizes: _Sizes) -> str:
    if mistake == "doubled" and term == "reconstruction" and kind.startswith("half"):
        return (
            "the squared error lacks its ½: that is a Normal of σ² = ½, or, at σ = 1, twice the "
            "reconstruction"
        )
    if mistake in ("halved", "doubled"):
        return f"the {term} is {mistake}"
    if mistake == "rows":
        return f"the {term} is averaged over rows and the other term is summed over them"
    return (
        f"the {term} is averaged over the {getattr(sizes, mistake)} {mistake}, which the ELBO sums"
    )


def _times(factor: float, sizes: _Sizes) -> str:
    """Return a factor as text to stand before its term: "−2/(rows·features) · "."""
    named = _named(abs(factor), sizes)
    sign = "−" if factor < 0 else ""
    if named is None:
        return f"{factor:.4g} · "
    over = [name for name in named if name in _MEANS]
    top = "½" if "halved" in named else "2" if "doubled" in named else "1"
    if not over:
        return "" if top == "1" and not sign else f"{sign}{top} · "
    below = over[0] if len(over) == 1 else f"({'·'.join(over)})"
    return f"{sign}{top}/{below} · "
