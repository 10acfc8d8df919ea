"""Read log σ from a sampler, a density and a KL."""

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy import optimize, special

from logvar.interop.probing.calling import Called, jax_keys
from logvar.interop.probing.candidates import Candidate

ALARM = 1e-6
"""Differences rarer than this by chance are reported."""
_LOG_TWO_PI = float(np.log(2 * np.pi))


@dataclasses.dataclass
class Reading:
    """The meaning of the raw output in one function, or in one part of it."""

    of: str
    """The name of the function or part, such as "sample", "log_prob's square" or "kl"."""
    log_sigma: np.ndarray | None
    """log σ on the grid, if it can be read directly."""
    tolerance: float
    means: tuple[str, ...] = ()
    """The names of the candidates that fit; more than one if the draws are too few to decide."""
    evidence: str = ""
    draws: int = 0
    """Draws for each point; 0 if the reading is exact."""
    problems: list[str] = dataclasses.field(default_factory=list)

    def agrees_with(self, log_sigma: np.ndarray) -> bool:
        """Return whether this log σ is the one that was read, up to rounding and chance."""
        if self.log_sigma is None:
            return True
        both = np.isfinite(self.log_sigma) & np.isfinite(log_sigma)
        if both.sum() < len(both) / 3 or (both != np.isfinite(self.log_sigma)).any():
            return False
        difference = (self.log_sigma - log_sigma)[both]
        if not self.draws:
            return bool(np.max(np.abs(difference)) <= self.tolerance)
        # (n − 1)·s²/σ² is χ² with n − 1 degrees of freedom, at each point and over all of them.
        freedom = self.draws - 1
        ratios = freedom * np.exp(2 * difference)
        whole = _two_sided(float(ratios.sum()), freedom * len(ratios))
        worst = _two_sided(ratios, freedom).min() * len(ratios)
        return bool(min(whole, worst) > ALARM / 2)

    def match(self, known: list[Candidate]) -> None:
        """Set `means` to the readings that fit, exact ones first."""
        if self.log_sigma is not None:
            fits = [c for c in known if self.agrees_with(c.log_sigma)]
            finite = np.isfinite(self.log_sigma)
            fits.sort(key=lambda c: float(np.sum((c.log_sigma - self.log_sigma)[finite] ** 2)))
            if not self.draws:
                fits = fits[:1]
            self.means = tuple(c.name for c in fits)


def _two_sided(value: np.ndarray | float, freedom: int) -> np.ndarray:
    """Return the two-sided p-value of a χ² statistic."""
    tails = special.chdtr(freedom, value), special.chdtrc(freedom, value)
    return np.asarray(2 * np.minimum(*tails))


def read_sample(sample: Called, raw: np.ndarray, n_samples: int, seed: int) -> Reading:
    """Read σ from a sampler: exactly if it takes ε, otherwise from the spread of its draws."""
    third = sample.third_argument()
    zeros = np.zeros_like(raw)
    if third == "eps":
        at_zero = sample(zeros, raw, zeros)
        at_one = sample(zeros, raw, zeros + 1)
        sigma = at_one - at_zero
        reading = Reading("sample", _log(sigma), sample.tolerance)
        if (sigma < 0).any():
            reading.problems.append(
                f"sample: σ is negative at {np.mean(sigma < 0):.0%} of the raw outputs tried, such "
                f"as {raw[np.argmin(sigma)]:.3g}"
            )
        reading.evidence = "z at ε = 1 less z at ε = 0"
        if np.max(np.abs(sample(zeros + 1, raw, zeros) - at_zero - 1)) > 1e-3:
            reading.problems.append("sample: raising the mean by 1 does not raise z by 1")
        return reading
    keys = jax_keys(seed)
    rng = np.random.default_rng(seed)

    def extra() -> tuple:
        return (next(keys),) if third == "key" else (rng,) if third == "rng" else ()

    tiled = np.broadcast_to(raw, (n_samples, len(raw))).copy()
    drawn = sample(np.zeros_like(tiled), tiled, extra=extra())
    sigma = drawn.std(axis=0, ddof=1)
    return Reading(
        "sample",
        _log(sigma),
        sample.tolerance,
        draws=n_samples,
        evidence=f"the spread of {n_samples:,} draws at each of {len(raw)} raw outputs",
    )


def read_log_prob(log_prob: Called, raw: np.ndarray) -> list[Reading]:
    """Read σ from a density twice: from how fast it decays, and from its height."""

    def at(z: np.ndarray, mean: np.ndarray) -> np.ndarray:
        return _each(lambda *arrays: log_prob(*arrays), z, mean, raw)

    zeros = np.zeros_like(raw)
    height = at(zeros, zeros)
    first = _sigma_of_fall(height - at(zeros + 1, zeros), np.ones_like(raw))
    # Once more with a step of 2σ, where the decay is 2 nats and rounding is smallest.
    step = np.where(np.isfinite(first), 2 * first, 1.0)
    fall = height - at(step, zeros)
    sigma = _sigma_of_fall(fall, step)
    read = _log(sigma)
    square = Reading(
        "log_prob's square", read, log_prob.tolerance, evidence="how fast it falls with z"
    )
    finite = np.isfinite(fall)
    if np.max(np.abs(height - at(2 * step, zeros) - 4 * fall)[finite], initial=0) > 0.05:
        square.problems.append(
            "log_prob: it does not fall with the square of z − mean, so it is no Normal density"
        )
    if np.max(np.abs(at(zeros + 1, zeros + 1) - height)[np.isfinite(height)], initial=0) > 1e-3:
        square.problems.append("log_prob: it is not highest at z = mean")
    log_sigma = -0.5 * _LOG_TWO_PI - height
    # Code often leaves out ½ log 2π, a constant that says nothing about σ.
    offset = np.nanmedian(log_sigma - read)
    constant = next((c for c in (-0.5 * _LOG_TWO_PI, -_LOG_TWO_PI) if abs(offset - c) < 1e-3), 0.0)
    height_reading = Reading(
        "log_prob's height",
        log_sigma - constant,
        log_prob.tolerance * 10,
        evidence="its value at z = mean" + (" (½ log 2π is left out)" if constant else ""),
    )
    return [square, height_reading]


def read_kl(kl: Called, raw: np.ndarray, known: list[Candidate], others: list[Reading]) -> Reading:
    """Read what a KL to N(0, 1) uses as σ² and as log σ."""
    zeros = np.zeros_like(raw)
    values = _each(lambda *arrays: kl(*arrays), zeros, raw)
    tolerance = 20 * kl.tolerance * (1 + np.abs(values))
    reading = Reading("kl", None, kl.tolerance)
    for other in others:
        read = other.log_sigma
        if read is not None and not other.draws and _fits(values, read, read, tolerance):
            reading.log_sigma = read
            reading.means = other.means
            reading.evidence = f"½(σ² − 1) − log σ with the σ of {other.of}"
    if reading.log_sigma is None:
        _match_kl(reading, values, known, tolerance)
    shift = _each(lambda *arrays: kl(*arrays), zeros + 1, raw) - values
    if np.max(np.abs(shift - 0.5)[np.isfinite(shift)], initial=0) > 1e-2:
        reading.problems.append(
            f"kl: a mean of 1 adds {np.nanmedian(shift):.3g} nats, expected ½μ² = 0.5"
        )
    _note_negative(kl, reading, raw, values)
    return reading


def _match_kl(
    reading: Reading, values: np.ndarray, known: list[Candidate], tolerance: np.ndarray
) -> None:
    for candidate in known:
        if _fits(values, candidate.log_sigma, candidate.log_sigma, tolerance):
            reading.log_sigma, reading.means = candidate.log_sigma, (candidate.name,)
            reading.evidence = "½(σ² − 1) − log σ under this reading, and no other, is its value"
            return
        if _fits(-values, candidate.log_sigma, candidate.log_sigma, tolerance):
            reading.log_sigma, reading.means = candidate.log_sigma, (candidate.name,)
            reading.problems.append(f"kl: it returns −KL under {candidate.name}")
            return
    for square in known:
        for logarithm in known:
            if _fits(values, square.log_sigma, logarithm.log_sigma, tolerance):
                reading.means = (f"σ² of {square.name}, log σ of {logarithm.name}",)
                reading.problems.append(
                    f"kl: its σ² reads the raw output as {square.name}, its log σ as "
                    f"{logarithm.name}, so it is the KL of no Normal"
                )
                return
    reading.evidence = "it fits no known scale, and nothing else was given to compare it with"


def _note_negative(kl: Called, reading: Reading, raw: np.ndarray, values: np.ndarray) -> None:
    lowest = int(np.nanargmin(values))
    if not values[lowest] < -1e-4 or any("−KL" in problem for problem in reading.problems):
        return
    best = optimize.minimize_scalar(
        lambda r: float(np.sum(kl(np.zeros((1, 1)), np.full((1, 1), r)))),
        bounds=(raw[max(lowest - 1, 0)], raw[min(lowest + 1, len(raw) - 1)]),
        method="bounded",
    )
    reading.problems.append(
        f"kl: it falls to {best.fun:.3f} at raw = {best.x:.4f}; a KL is never negative"
    )


def _fits(
    values: np.ndarray, of_square: np.ndarray, of_logarithm: np.ndarray, tolerance: np.ndarray
) -> bool:
    expected = 0.5 * np.expm1(2 * of_square) - of_logarithm
    both = np.isfinite(values) & np.isfinite(expected)
    if both.sum() < len(values) / 3 or (both != np.isfinite(values)).any():
        return False
    return bool((np.abs(values - expected) <= tolerance)[both].all())


def _each(function: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """Evaluate the function at each grid point, whether it is elementwise or sums some axes."""
    columns = [array[:, None] for array in arrays]
    value = function(*columns)
    if value.size == len(arrays[0]):
        return value.reshape(-1)
    return np.array(
        [float(np.sum(function(*(c[i : i + 1] for c in columns)))) for i in range(len(arrays[0]))]
    )


def _sigma_of_fall(fall: np.ndarray, step: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(fall > 0, step / np.sqrt(2 * np.where(fall > 0, fall, 1.0)), np.nan)


def _log(sigma: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sigma > 0, np.log(np.where(sigma > 0, sigma, 1.0)), np.nan)
