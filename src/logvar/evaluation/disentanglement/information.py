"""Scores of mutual information between latents and factors: MIG and modularity."""

import numpy as np
from jaxtyping import Float, Int

from logvar.evaluation.disentanglement.factors import Factor, binned

Matrix = Float[np.ndarray, "latents factors"]


def mutual_information(first: Int[np.ndarray, "rows"], second: Int[np.ndarray, "rows"]) -> float:
    """Return the mutual information of two columns of levels, nats, from their joint counts.

    Example:
        >>> import numpy as np
        >>> from logvar.evaluation.disentanglement.information import mutual_information
        >>> coin = np.array([0, 1, 0, 1])
        >>> round(mutual_information(coin, coin), 4)  # log 2
        0.6931
    """
    joint = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(joint, (first, second), 1.0)
    joint /= len(first)
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    some = joint > 0
    return float(np.sum(joint[some] * np.log(joint[some] / apart[some])))


def information_matrix(codes: Float[np.ndarray, "rows latents"], factors: list[Factor]) -> Matrix:
    """Return the mutual information of each latent, in 20 bins, with each factor, nats."""
    latents = [binned(code) for code in codes.T]
    return np.array([[mutual_information(z, f.levels) for f in factors] for z in latents])


def mutual_information_gap(information: Matrix, factors: list[Factor]) -> float:
    """MIG: the mean over factors of (I of the best latent − I of the second best)/H(factor).

    Reference:
        Chen et al. 2018 (arXiv 1802.04942), section 4.1.
    """
    ordered = np.sort(information, axis=0)[::-1]
    second = ordered[1] if len(ordered) > 1 else np.zeros(len(factors))
    entropies = np.array([mutual_information(f.levels, f.levels) for f in factors])
    return float(np.mean((ordered[0] - second) / entropies))


def modularity(information: Matrix) -> float:
    """The mean over latents of 1 − Σ I²/(I_max²·(K − 1)), over all factors but the best one.

    A latent that tells nothing of any of the K factors scores 0.

    Reference:
        Ridgeway & Mozer 2018 (arXiv 1802.05312), section 3.
    """
    squares = information**2
    best = squares.max(1)
    others = squares.sum(1) - best
    told = best > 0
    scores = np.zeros(len(information))
    scores[told] = 1 - others[told] / (best[told] * (information.shape[1] - 1))
    return float(scores.mean())
