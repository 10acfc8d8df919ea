"""Which of σ², σ and log σ² has a simple unbiased estimator? Measured, and corrected.

python docs/scripts/estimators.py
"""

import numpy as np
from scipy.special import gammaln, psi

ROWS, SIGMA = 400_000, 1.7


def main():
    rng = np.random.default_rng(0)
    print("ratio to the truth (σ², σ) or difference from it (log σ²); ± two standard errors")
    for n in (2, 5, 10):
        variance = (SIGMA * rng.standard_normal((ROWS, n))).var(axis=1, ddof=1)
        half = (n - 1) / 2
        c4 = np.sqrt(1 / half) * np.exp(gammaln(half + 0.5) - gammaln(half))
        bias = psi(half) - np.log(half)
        for name, values, predicted in (
            ("S² for σ²", variance / SIGMA**2, 1.0),
            ("S for σ", np.sqrt(variance) / SIGMA, c4),
            ("S/c₄ for σ", np.sqrt(variance) / SIGMA / c4, 1.0),
            ("log S² for log σ²", np.log(variance / SIGMA**2), bias),
            ("log S² − bias", np.log(variance / SIGMA**2) - bias, 0.0),
        ):
            error = 2 * values.std() / np.sqrt(ROWS)
            print(f"n = {n:<3} {name:<18} {values.mean():+.4f} ± {error:.4f}", end="")
            print(f"   predicted {predicted:+.4f}")
        print()


if __name__ == "__main__":
    main()
