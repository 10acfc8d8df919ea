"""Every scale × learning rate × optimizer on digits: trained, or stopped with a named cause?

python -m tests.crash.divergence                 # the table of docs/reliability.md
"""

import argparse
import collections
import sys

import numpy as np

import logvar
from logvar.data.sources import load

DIGITS = load("digits")
RATES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
SAME = {"vdvae", "efficient-vdvae"}  # log-std and softplus-ln2 under another name


def outcome(scale: str, optimizer: str, rate: float, on_divergence: str, epochs: int) -> str:
    """How a run ended: "trained", or the cause that its diagnosis names."""
    vae = logvar.VAE(
        scale=scale, optimizer=optimizer, learning_rate=rate, on_divergence=on_divergence,
        epochs=epochs, patience=0,
    )  # fmt: skip
    try:
        vae.fit(DIGITS.train)
    except logvar.LogvarError as error:
        if "Likely cause:" not in str(error) or "Remedy:" not in str(error):
            return f"NO CAUSE NAMED: {error}"
        return f"stopped: {vae.diagnosis_.cause.split(':')[0].split(' has grown')[0]}"
    finite = np.isfinite([line["train"]["elbo"] for line in vae.history_]).all()
    return "trained" if finite else "NOT FINITE AND NOT STOPPED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--optimizers", nargs="+", default=["sgd", "adam"])
    parser.add_argument("--answers", nargs="+", default=["stop", "rescue"])
    chosen = parser.parse_args()
    names = [n for n, e in logvar.scales.REGISTRY.items() if not e.wraps and n not in SAME]
    unexplained = 0
    for on_divergence in chosen.answers:
        for optimizer in chosen.optimizers:
            totals: collections.Counter[str] = collections.Counter()
            plain = 0
            for name in names:
                ends = [outcome(name, optimizer, r, on_divergence, chosen.epochs) for r in RATES]
                totals.update(ends)
                plain += ends.count("trained") if name == "log-variance" else 0
                unexplained += sum("NO" in end for end in ends)
            of = len(names) * len(RATES)
            print(
                f"{on_divergence:<7}{optimizer:<5} {totals['trained']} of {of} runs trained "
                f"({totals['trained'] / of:.0%}); log-variance {plain} of {len(RATES)}",
                flush=True,
            )
            for end, count in totals.most_common():
                print(f"    {count:>4}  {end}", flush=True)
    print(f"unexplained: {unexplained}")
    sys.exit(bool(unexplained))


if __name__ == "__main__":
    main()
