"""Published likelihoods of MNIST beside ours, under the papers' own schedules and networks.

    LOGVAR_DATA=folder python benchmarks/published.py                    # everything; days on a CPU
    LOGVAR_DATA=folder python benchmarks/published.py --only iwae-5 vampprior standard --seeds 0 1 2
    LOGVAR_DATA=folder python benchmarks/published.py --curve 1 4 13 40  # the first of those epochs, measured at each
    LOGVAR_DATA=folder python benchmarks/published.py --short            # minutes: does it work?
    python benchmarks/published.py --table                               # what has been run so far

Each result is a line of `results/published.jsonl` with its settings. The table has a row for each setting,
"not run" where no result is there, and the gap between standard and VampPrior over the seeds that both have.
log p(x) is a lower bound by importance samples (5,000; 500 for s-vae), in nats, on the 10,000 test images.

`--curve` stops the same schedule early, with all rows: each level is that of the first epochs of a full run, and what
is claimed is the level at that epoch. It is measured with 500 importance samples, which reads up to a few tenths of a
nat worse than 5,000. A second table has them.

What differs from the sources: the schedule of IWAE's table ends after stage i = 5 (364 of 3,280 epochs), and
its rates are not rounded to 1e-5; static binarization is a seeded draw of ours, since Larochelle's file is
not at hand, so the gap between two priors is what can be compared; the encoder of s-vae has the power
spherical distribution in place of the von Mises–Fisher, and 1,000 epochs at most.

`--short` takes fewer epochs, rows and samples. Its figures say that the code runs and nothing of the papers.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import logvar
from data import mnist
from logvar.recipe import PRESETS

RESULTS = Path(__file__).parent / "results" / "published.jsonl"
SHAPE = (28, 28, 1)
STAGES = 6
"""Of IWAE's schedule: i = 0 … 5, stage i of 3^i epochs at the rate 10^(−i/7)/1,000."""


class Layer(eqx.Module):
    """A dense layer: tanh or ReLU, Glorot's start; or gated, (Wx + b)·sigmoid(Vx + c), He's start."""

    kernel: jax.Array
    bias: jax.Array
    kind: str = eqx.field(static=True)

    def __init__(self, key, inputs, outputs, kind):
        columns = 2 * outputs if kind == "gated" else outputs
        if kind in ("gated", "linear-he"):
            self.kernel = np.sqrt(2 / inputs) * jax.random.normal(key, (inputs, columns))
        else:
            limit = np.sqrt(6 / (inputs + outputs))
            shape = (inputs, columns)
            self.kernel = jax.random.uniform(key, shape, minval=-limit, maxval=limit)
        self.bias, self.kind = jnp.zeros(columns), kind

    def __call__(self, x):
        h = x @ self.kernel + self.bias
        if self.kind == "gated":
            value, gate = jnp.split(h, 2)
            return value * jax.nn.sigmoid(gate)
        return {"tanh": jnp.tanh, "relu": jax.nn.relu}.get(self.kind, lambda h: h)(h)


class Network(eqx.Module):
    """Dense layers, of one kind up to the last, which is linear."""

    layers: list[Layer]
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, key, sizes, kind, shape):
        keys = jax.random.split(key, len(sizes) - 1)
        last = "linear-he" if kind == "gated" else "linear"
        kinds = [kind] * (len(sizes) - 2) + [last]
        sides = zip(keys, sizes[:-1], sizes[1:], kinds, strict=True)
        self.layers = [Layer(*side) for side in sides]
        self.shape = shape

    def __call__(self, x):
        h = x.reshape(-1)
        for layer in self.layers:
            h = layer(h)
        return h.reshape(self.shape)


def networks(seed, hidden, kind, latent_dim, outputs):
    """Encoder and decoder, whose widths are the encoder's in reverse."""
    keys = jax.random.split(jax.random.key(seed), 2)
    return {
        "encoder": Network(keys[0], (784, *hidden, outputs), kind, (outputs,)),
        "decoder": Network(keys[1], (latent_dim, *hidden[::-1], 784), kind, SHAPE),
    }


def adam_norm_grad(rate):
    """Adam on each array's gradient divided by its norm, as in jmtomczak/vae_vampprior."""

    def divided(gradient, params):
        return jax.tree.map(lambda g: g / (jnp.linalg.norm(g.reshape(-1)) + 1e-7), gradient)

    return optax.chain(optax.stateless(divided), optax.adam(rate))


def of_iwae(objective, published):
    """A cell of the one-layer table: tanh 200-200, 50 latents."""
    settings = PRESETS["iwae"] | {
        "objective": objective,
        "epochs": sum(3**i for i in range(STAGES)),
    }
    return settings, ((200, 200), "tanh", 50, 100), None, 5000, published, (5, 2)


def of_vampprior(prior, published):
    """Tomczak & Welling's one level: gated 300-300, 40 latents."""
    settings = PRESETS["vampprior"] | {"prior": prior}
    return settings, ((300, 300), "gated", 40, 80), adam_norm_grad, 5000, published, (2, 20)


SETTINGS = {
    "vae-1": of_iwae("elbo(analytic_kl=false)", 86.76),
    "vae-5": of_iwae("elbo(samples=5, analytic_kl=false)", 86.47),
    "vae-50": of_iwae("elbo(samples=50, analytic_kl=false)", 86.35),
    "iwae-5": of_iwae("iwae(samples=5)", 85.54),
    "iwae-50": of_iwae("iwae(samples=50)", 84.78),
    "miwae-8-8": of_iwae("miwae(outer=8, inner=8)", 84.97),
    "piwae-8-8": of_iwae("piwae(outer=8, inner=8)", 84.46),
    "ciwae-64": of_iwae("ciwae(samples=64, beta=0.05)", 84.57),
    "standard": of_vampprior("standard", 88.56),
    "vampprior": of_vampprior("vamp(components=500)", 85.57),
    "s-vae": (PRESETS["s-vae"], ((256, 128), "relu", 11, 12), None, 500, 93.16, (1, 64)),
}
"""Settings, networks, optimizer, importance samples, −log p(x) published, and what `--short` takes: the
epochs, and rows for each of a batch's."""


def measured(name, seed, short=False, epochs=None, rows=None, curve=()):
    """Train one, and yield a line of the results at each epoch of the curve, or at the end."""
    settings, network, optimizer, samples, _, (few, batches) = SETTINGS[name]
    settings = dict(settings) | {"random_state": seed}
    settings.pop("network")
    train, test = mnist()
    if short:
        settings["epochs"] = epochs or few
        train, test = train[: rows or 100 * batches], test[:100]
        samples = 50
        if "vamp" in settings.get("prior", ""):
            settings["prior"] = f"vamp(components={min(500, len(train) // 4)})"
    if curve:
        samples = 500
    if optimizer is not None:
        settings["optimizer"] = optimizer(settings.pop("learning_rate"))
    trained = 0.0
    with tempfile.TemporaryDirectory() as checkpoints:
        for end in curve or (settings["epochs"],):
            started = time.perf_counter()
            settings["epochs"] = end
            vae = logvar.VAE(**settings, **networks(seed, *network))
            vae.fit(train, checkpoints=checkpoints, resume=True)
            trained += time.perf_counter() - started
            each = vae.score_samples(test, n_samples=samples).astype(np.float64)
            yield {
                "name": name,
                "seed": seed,
                "short": short,
                "curve": bool(curve),
                "nats": -float(each.mean()),
                "error": float(each.std(ddof=1) / np.sqrt(len(each))),
                "epochs": len(vae.history_),
                "rows": len(train),
                "test_rows": len(test),
                "samples": samples,
                "seconds": round(trained, 1),
                "device": jax.devices()[0].device_kind,
                "version": logvar.__version__,
                "recipe": vae.recipe_.to_toml(),
            }


def recorded():
    """Return the results of full schedules and those of curves: the last of each setting and seed (and epoch)."""
    lines = RESULTS.read_text().splitlines() if RESULTS.is_file() else []
    found = [json.loads(line) for line in lines]
    full = {(r["name"], r["seed"]): r for r in found if not r.get("curve")}
    curves = {(r["name"], r["seed"], r["epochs"]): r for r in found if r.get("curve")}
    return full, curves


def table(results):
    """Return the table of all settings, as Markdown."""
    lines = ["| setting | published, −log p(x) | ours | epochs |", "|---|---|---|---|"]
    for name, (settings, *_, published, _) in SETTINGS.items():
        ours = [r for (other, _), r in results.items() if other == name]
        text = "not run"
        if ours:
            over = f"{len(ours)} seeds" if len(ours) > 1 else "rows, 1 seed"
            text = f"{cell(ours)} (over {over})"
        ran = ", ".join(sorted({str(r["epochs"]) for r in ours})) or f"of {settings['epochs']:,}"
        lines.append(f"| `{name}` | {published:.2f} | {text} | {ran} |")
    return "\n".join([*lines, "", gap(results)])


def curves_table(curves):
    """Return the table of the schedules' first epochs, as Markdown: a column for each epoch."""
    ends = sorted({epochs for *_, epochs in curves})
    lines = [
        f"| setting | {' | '.join(f'{end:,} epochs' for end in ends)} | published |",
        f"|{'---|' * (len(ends) + 2)}",
    ]
    for name, (*_, published, _) in SETTINGS.items():
        found = [
            cell([r for (of, _, at), r in curves.items() if (of, at) == (name, end)])
            for end in ends
        ]
        if any(found):
            cells = " | ".join(each or "—" for each in found)
            lines.append(f"| `{name}` | {cells} | {published:.2f} |")
    return "\n".join(lines)


def cell(ours):
    """Return the mean of these results ± its standard error, over seeds, or over rows for one seed."""
    nats = [r["nats"] for r in ours]
    if not ours:
        return ""
    error = np.std(nats, ddof=1) / np.sqrt(len(nats)) if len(nats) > 1 else ours[0]["error"]
    return f"{np.mean(nats):.2f} ± {error:.2f}"


def gap(results):
    """Return the gap between the priors, standard less VampPrior, over the seeds that both have."""
    published = SETTINGS["standard"][-2] - SETTINGS["vampprior"][-2]
    text = f"Standard less VampPrior: {published:.2f} nats published"
    seeds = sorted({seed for name, seed in results if name == "standard"})
    gaps = [
        results["standard", seed]["nats"] - results["vampprior", seed]["nats"]
        for seed in seeds
        if ("vampprior", seed) in results
    ]
    if not gaps:
        return f"{text}; ours: not run."
    error = f" ± {np.std(gaps, ddof=1) / np.sqrt(len(gaps)):.2f}" if len(gaps) > 1 else ""
    return f"{text}; ours {np.mean(gaps):.2f}{error} over {len(gaps)} seeds."


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--curve", type=int, nargs="+", default=[], help="epochs to measure at")
    parser.add_argument("--short", action="store_true", help="few epochs, rows and samples")
    parser.add_argument("--epochs", type=int, help="with --short")
    parser.add_argument("--rows", type=int, help="with --short: how many train the model")
    parser.add_argument("--table", action="store_true", help="print the table, and run nothing")
    arguments = parser.parse_args()
    if (arguments.epochs or arguments.rows) and not arguments.short:
        parser.error("--epochs and --rows go with --short: a full schedule has its own")
    if arguments.short and arguments.curve:
        parser.error("--short and --curve exclude each other")
    for name in [] if arguments.table else arguments.only:
        for seed in arguments.seeds:
            for line in measured(
                name,
                seed,
                arguments.short,
                arguments.epochs,
                arguments.rows,
                sorted(arguments.curve),
            ):
                print(
                    f"{name} seed {seed}: −log p(x) {line['nats']:.2f} ± {line['error']:.2f} after "
                    f"{line['epochs']} epochs of {line['rows']:,} rows, {line['samples']} samples, "
                    f"{line['test_rows']:,} test rows, {line['seconds']:.0f} s"
                    + (" (short: says nothing of the published number)" if line["short"] else ""),
                    flush=True,
                )
                if not arguments.short:
                    with RESULTS.open("a") as file:
                        file.write(json.dumps(line) + "\n")
    full, curves = recorded()
    print(table(full))
    if curves:
        print(f"\n{curves_table(curves)}")


if __name__ == "__main__":
    main()
