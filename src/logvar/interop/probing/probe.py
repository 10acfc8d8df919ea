"""`logvar.probe`: check whether someone's sampler, density, KL and loss go together."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from logvar.errors import LogvarError
from logvar.interop.probing.calling import Called
from logvar.interop.probing.candidates import Candidate, candidates
from logvar.interop.probing.loss import FEATURES, LATENTS, OF_LOSS, LossFactors, read_loss
from logvar.interop.probing.readings import Reading, read_kl, read_log_prob, read_sample

_GRID = np.linspace(-3.0, 3.0, 25)


@dataclasses.dataclass(frozen=True, repr=False)
class Probe:
    """The meaning of the raw output in each function, and whether they agree."""

    readings: dict[str, Reading]
    problems: list[str]
    loss: LossFactors | None = None
    """The factors of a loss's terms and the β they amount to, if both could be read."""

    @property
    def consistent(self) -> bool:
        """Whether nothing was found wrong: one σ in all of them, and a loss that is the ELBO's."""
        return not self.problems

    def __repr__(self) -> str:
        lines = []
        for reading in self.readings.values():
            means = " or ".join(reading.means) or "none of the known scales"
            verb = "is" if reading.of == OF_LOSS else "reads"
            lines.append(f"{reading.of:<18} {verb} {means}; from {reading.evidence}")
        if self.loss is not None:
            lines.append(f"{'loss':<18} amounts to β = {self.loss.beta:.4g}")
        lines += [f"PROBLEM  {problem}" for problem in self.problems]
        if self.consistent:
            lines.append("consistent: one σ behind all of them")
        return "\n".join(lines)


def probe(
    *,
    sample: Callable[..., Any] | None = None,
    log_prob: Callable[..., Any] | None = None,
    kl: Callable[..., Any] | None = None,
    loss: Callable[..., Any] | None = None,
    shape: tuple[int, ...] = (FEATURES,),
    latent_dim: int = LATENTS,
    n_samples: int = 1000,
    seed: int = 0,
) -> Probe:
    """Check whether a sampler, a density and a KL mean the same σ by the same raw output.

    Each function is called on a grid of raw outputs from −3 to 3 with arrays of its own framework
    (NumPy, JAX or PyTorch). σ is read from what depends on σ alone: the spread of z, the decay and
    the height of the density, the KL's ½(σ² − 1) − log σ. The readings are compared with each other
    and named after the scale or the mistake that they match.

    Args:
        sample: sample(mean, raw, eps), which is read exactly; or sample(mean, raw),
            sample(mean, raw, key) or sample(mean, raw, rng), which are read from their draws. A
            correct one is called wrong in at most one of a million probes, however few the draws.
        log_prob: log_prob(z, mean, raw) in nats, elementwise or summed over the last axis;
            with or without the constant ½ log 2π.
        kl: kl(mean, raw) to N(0, 1) in nats, elementwise or summed over the last axis.
        loss: loss(x, outputs, mean, raw), what training minimizes for a batch: a number, or one for
            each row. Its reconstruction and its KL are compared with those of the negative ELBO;
            the factor by which either is off is named, with the β that it amounts to.
        shape: the shape of one example that the loss is called with.
        latent_dim: the number of latents that the loss is called with.
        n_samples: draws at each raw output, for samplers without eps; at least 2.
        seed: the seed of the keys for a sampler that takes keys.

    Returns:
        A `Probe`: `consistent`, `problems` in words, `readings` by part, `loss`; print it.

    Raises:
        LogvarError: no function was given, or one cannot be called that way.

    Example:
        >>> import logvar, numpy as np
        >>> found = logvar.probe(
        ...     sample=lambda mean, raw, eps: mean + np.exp(raw) * eps,
        ...     kl=lambda mean, raw: 0.5 * (np.exp(raw) + mean**2 - 1 - raw),
        ... )
        >>> found.consistent
        False
        >>> print(found.problems[0].split(":")[0])
        sample reads the raw output as log-std, kl as log-variance

        A mean where the ELBO has a sum:

        >>> found = logvar.probe(
        ...     loss=lambda x, out, mean, raw: np.mean((x - out) ** 2) / 2
        ...     + np.sum(np.exp(raw) + mean**2 - 1 - raw) / 2 / len(x)
        ... )
        >>> print(found.problems[0])  # doctest: +NORMALIZE_WHITESPACE
        loss: the reconstruction is averaged over the 11 features, which the ELBO sums, which
        amounts to β = 11
    """
    given = {"sample": sample, "log_prob": log_prob, "kl": kl, "loss": loss}
    called = {name: Called(f, name) for name, f in given.items() if f is not None}
    if not called:
        raise LogvarError("probe got nothing to look at: give sample, log_prob, kl or loss")
    if n_samples < 2:
        raise LogvarError(f"n_samples is {n_samples}: expected at least 2 draws to see a spread")
    known = _known()
    readings: list[Reading] = []
    with np.errstate(all="ignore"):  # overflow in the user's code is part of the reading
        if "log_prob" in called:
            readings += read_log_prob(called["log_prob"], _GRID)
        if "sample" in called:
            readings.insert(0, read_sample(called["sample"], _GRID, n_samples, seed))
        for reading in readings:
            reading.match(known)
        if "kl" in called:
            readings.append(read_kl(called["kl"], _GRID, known, readings))
        found = read_loss(called["loss"], shape, latent_dim, _GRID) if "loss" in called else None
    if found is not None:
        readings += found.readings
    problems = [problem for reading in readings for problem in reading.problems]
    problems = _disagreements(readings, known) + problems + _faults(readings, known)
    if found is not None:
        problems += found.problems
    factors = None if found is None else found.factors
    return Probe({reading.of: reading for reading in readings}, problems, factors)


@functools.cache
def _known() -> list[Candidate]:
    return candidates(_GRID)


def _disagreements(readings: list[Reading], known: list[Candidate]) -> list[str]:
    """Compare each reading with the first one it differs from."""
    groups: list[list[Reading]] = []
    # Exact readings first, so that draws are compared with them.
    for reading in sorted(readings, key=lambda reading: reading.draws):
        if reading.log_sigma is None:
            continue
        for group in groups:
            first = group[0]
            compared = first.log_sigma
            if compared is not None and reading.agrees_with(compared):
                group.append(reading)
                break
        else:
            groups.append([reading])
    groups.sort(key=lambda group: min(readings.index(reading) for reading in group))
    return [_difference(groups[0], group) for group in groups[1:]]


def _difference(one: list[Reading], other: list[Reading]) -> str:
    a, b = one[0].log_sigma, other[0].log_sigma
    if a is None or b is None:
        raise ValueError("only readings of σ are compared")
    gap = np.where(np.isfinite(a) & np.isfinite(b), np.abs(a - b), -1.0)
    at = int(np.argmax(gap))
    return (
        f"{_names(one)} {_verb(one)} the raw output as {_meaning(one)}, {_names(other)} as "
        f"{_meaning(other)}: at raw = {_GRID[at]:.3g}, σ is {np.exp(a[at]):.3g} against "
        f"{np.exp(b[at]):.3g}"
    )


def _names(group: list[Reading]) -> str:
    names = list(dict.fromkeys(reading.of for reading in group))
    if {"log_prob's square", "log_prob's height"} <= set(names):
        place = names.index("log_prob's square")
        names = [name for name in names if not name.startswith("log_prob's")]
        names.insert(min(place, len(names)), "log_prob")
    return " and ".join(names)


def _verb(group: list[Reading]) -> str:
    return "reads" if " and " not in _names(group) else "read"


def _meaning(group: list[Reading]) -> str:
    exact = next((reading for reading in group if reading.means), group[0])
    return " or ".join(exact.means) or "something that is none of the known scales"


def _faults(readings: list[Reading], known: list[Candidate]) -> list[str]:
    """Return readings that are mistakes even if all functions share them."""
    faults = {candidate.name: candidate.fault for candidate in known if candidate.fault}
    seen = dict.fromkeys(
        reading.means[0] for reading in readings if reading.means and reading.means[0] in faults
    )
    return [f"{name}: {faults[name]}" for name in seen]
