"""`logvar.disentanglement`: all scores of latents against known factors."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from logvar.errors import LogvarError
from logvar.evaluation.disentanglement.factors import BINS, read_factors
from logvar.evaluation.disentanglement.information import (
    information_matrix,
    modularity,
    mutual_information_gap,
)
from logvar.evaluation.disentanglement.intervention import (
    BATCH,
    VOTES,
    beta_vae_score,
    factor_vae_score,
)
from logvar.evaluation.disentanglement.prediction import (
    TREES,
    dci,
    separated_attribute_predictability,
)
from logvar.evaluation.summary import Figure
from logvar.randomness import Purpose, host_stream

ROWS = 10_000
"""Rows that scores are computed from, at most; more are thinned at random."""
_LEAST = 20


@dataclasses.dataclass(frozen=True)
class Disentanglement:
    """Scores from 0 to 1, higher is better, each with how it was computed."""

    rows: int
    latents: int
    factors: list[str]
    """The names of the factors that vary."""
    figures: list[Figure]

    def __getitem__(self, name: str) -> float:
        return next(figure.value for figure in self.figures if figure.name == name)

    def __str__(self) -> str:
        lines = [
            f"{self.rows:,} rows, {self.latents} latents, {len(self.factors)} factors "
            f"({', '.join(self.factors)}):"
        ]
        lines += [f"  {f.name:<22}{f!s:<10} {f.how}" for f in self.figures]
        return "\n".join(lines)


def disentanglement(codes: ArrayLike, factors: Any, *, random_state: int = 0) -> Disentanglement:
    """Score how well latents separate the known factors of some data.

    Computes MIG, modularity, DCI, SAP, and the FactorVAE and β-VAE scores. Real-valued factors are
    predicted as numbers, all others as classes. MIG, SAP and DCI of random codes are about 0, the
    FactorVAE and β-VAE scores about 1 / the number of factors.

    Args:
        codes: (rows, latents), such as `vae.transform(X)` returns.
        factors: a row for each row of codes: a dict or frame with a column for each factor, or an
            array (rows, factors).
        random_state: the seed of the choice of rows, of the forests, and of the votes.

    Raises:
        LogvarError: the shapes do not fit, values are missing, there are fewer than 20 rows, or
            fewer than two factors vary.

    Reference:
        Locatello et al. 2019 (arXiv 1811.12359) compare these scores.

    Example:
        >>> import logvar, numpy as np
        >>> factors = np.random.default_rng(0).integers(4, size=(500, 2))
        >>> found = logvar.disentanglement(-3.0 * factors[:, ::-1], factors)
        >>> found["mig"] > 0.95, found["factor_vae_score"]
        (True, 1.0)
    """
    codes = np.asarray(codes, np.float64)
    if codes.ndim != 2 or len(codes) < _LEAST or not codes.shape[1]:
        raise LogvarError(
            f"codes have shape {codes.shape}: expected (rows, latents) with at least {_LEAST} rows"
        )
    if not np.isfinite(codes).all():
        raise LogvarError("codes have values that are not finite: expected numbers")
    found = read_factors(factors, len(codes))
    rng = host_stream(random_state, Purpose.AGGREGATE, 1)
    order = rng.permutation(len(codes))[:ROWS]
    codes = codes[order]
    found = [
        dataclasses.replace(
            factor,
            numbers=None if factor.numbers is None else factor.numbers[order],
            levels=factor.levels[order],
        )
        for factor in found
    ]
    n = len(codes)
    # The rows are in random order already.
    train, test = np.arange(n // 2), np.arange(n // 2, n)
    information = information_matrix(codes, found)
    predicted = dci(codes, found, train, test, random_state)
    forest = f"random forests of {TREES} trees"
    votes = f"{VOTES:,} votes to learn from, {VOTES // 2} to score, {BATCH}"
    figures = [
        ("mig", mutual_information_gap(information, found), f"{BINS} bins"),
        ("modularity", modularity(information), f"{BINS} bins"),
        ("dci_disentanglement", predicted.disentanglement, f"importances in {forest}"),
        ("dci_completeness", predicted.completeness, f"importances in {forest}"),
        (
            "dci_informativeness",
            predicted.informativeness,
            f"{forest}, R² or accuracy beyond chance on the other half of the rows",
        ),
        (
            "sap",
            separated_attribute_predictability(codes, found, train, test),
            "squared correlation with numbers, accuracy of a linear SVM for classes",
        ),
        ("factor_vae_score", factor_vae_score(codes, found, rng), f"{votes} rows each"),
        ("beta_vae_score", beta_vae_score(codes, found, rng), f"{votes} pairs each"),
    ]
    return Disentanglement(
        n,
        codes.shape[1],
        [factor.name for factor in found],
        [Figure(name, value, None, "", how) for name, value, how in figures],
    )
