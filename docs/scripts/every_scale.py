"""Every scale on digits: the KL it starts with, and where training ends at several learning rates.

python docs/scripts/every_scale.py --seeds 2     # the table of docs/how-to-choose.md, 15 minutes
python docs/scripts/every_scale.py --scales log-variance softplus --learning-rates 0.001
"""

import argparse

import numpy as np

import logvar
from logvar import assembly
from logvar.data.sources import load
from logvar.evaluation.coding import encode
from logvar.recipe import Recipe

DIGITS = load("digits")
SAME = {"vdvae": "log-std", "efficient-vdvae": "softplus-ln2"}


def start_kl(scale: str, initial_sigma: str, seed: int) -> float:
    """½(σ² − 1) − log σ of the untrained model, nats per latent, mean over the test digits."""
    recipe = Recipe().replace(scale=scale, initial_sigma=initial_sigma, random_state=seed)
    run = assembly.build_run(recipe, assembly.TrainingData(DIGITS.train))
    rows = assembly.read(DIGITS.test, run.prepared, seed, run.units)
    raw = encode(run.model, rows, run.prepared, seed)["raw"]
    return float(np.mean(np.asarray(run.model.scale.kl_excess(raw), float)))


def end(scale: str, learning_rate: float, seed: int) -> float | str:
    """The test ELBO in nats per example, or what stopped the run."""
    vae = logvar.VAE(scale=scale, learning_rate=learning_rate, random_state=seed)
    try:
        return vae.fit(DIGITS.train).score(DIGITS.test)
    except logvar.LogvarError:
        return vae.diagnosis_.cause


def cell(scale: str, learning_rate: float, seeds: int) -> str:
    ends = [end(scale, learning_rate, seed) for seed in range(seeds)]
    reached = [value for value in ends if isinstance(value, float)]
    causes = [value for value in ends if isinstance(value, str)]
    text = f"{np.mean(reached):.2f}" if reached else ""
    if causes:
        text += f" stopped {len(causes)} of {seeds}: {causes[0]}"
    return text.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [n for n, e in logvar.scales.REGISTRY.items() if not e.wraps and n not in SAME]
    parser.add_argument("--scales", nargs="+", default=names)
    parser.add_argument("--learning-rates", nargs="+", type=float, default=[1e-3, 1e-2, 1e-1])
    parser.add_argument("--seeds", type=int, default=2)
    chosen = parser.parse_args()
    rates = " | ".join(f"{rate:g}" for rate in chosen.learning_rates)
    print(f"| scale | start, as is | start | {rates} |")
    print("|---" * (3 + len(chosen.learning_rates)) + "|")
    for scale in chosen.scales:
        starts = [
            np.mean([start_kl(scale, how, seed) for seed in range(chosen.seeds)])
            for how in ("as-is", "auto")
        ]
        ends = " | ".join(cell(scale, rate, chosen.seeds) for rate in chosen.learning_rates)
        print(f"| {scale} | {starts[0]:.4f} | {starts[1]:.4f} | {ends} |", flush=True)


if __name__ == "__main__":
    main()
