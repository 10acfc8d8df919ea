"""Four models of MNIST beside pythae's: log-likelihood of test digits, and time for an epoch.

    make bench                                             # once: it installs the peers
    LOGVAR_DATA=FOLDER .venv/bin/python benchmarks/pythae_models.py --seeds 0 1 2

Both sides: 784-512-latents with SiLU, 20 latents, Bernoulli on the same pixels (binarized once, by draws of
seed 0), Adam at 1e-3, batches of 100, the weights after the last epoch. Learning rate and everything else are
not tuned; weights start as each library starts them.

VAE      elbo                       IWAE   iwae(samples=10)
VAMP     elbo, 50 pseudo-inputs     β-TC   beta-tc, α = γ = 1, β = 6

log p(x): 200 importance samples from q(z | x), nats per example, mean over test digits, on each side by its
own networks and prior. ± is the standard error over seeds (start, order and noise). Time: both sides run in
processes of one thread each that take turns, epoch by epoch, without the first epoch, which compiles; medians
of processor time and of the clock. --peers names the Python with pythae, in which this file runs as well.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from data import mnist

HERE = Path(__file__).parent
RESULT = HERE / "results" / "pythae-models.json"
LATENTS, BATCH, RATE, DRAWS = 20, 100, 1e-3, 200
MODELS = ("VAE", "IWAE", "VAMP", "β-TC")
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "LOGVAR_KERNELS": "0",
}


def pixels(rows, tests):
    rng = np.random.default_rng(0)
    train, test = (images.reshape(len(images), 784) for images in mnist())
    return tuple(
        (rng.random((n, 784)) < images[:n] / 255).astype(np.float32)
        for images, n in ((train, rows), (test, tests))
    )


class Turns:
    """The worker's end: an epoch for each line "go", answered by its seconds."""

    def __init__(self):
        self.out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what libraries print is not an answer
        self._since = None

    def wait(self):
        sys.stdin.readline()
        self._since = time.perf_counter(), time.process_time()

    def done(self):
        spent = time.perf_counter() - self._since[0], time.process_time() - self._since[1]
        print(*spent, file=self.out, flush=True)


def by_logvar(model, seed, epochs, train, test, turns):
    import logvar
    from logvar.training.pace import Pace

    class InTurns(Pace):
        def on_epoch(self, metrics, state):
            super().on_epoch(metrics, state)
            turns.done()
            if metrics.epoch < epochs:
                turns.wait()

    settings = {
        "VAE": {},
        "IWAE": {"objective": "iwae(samples=10)"},
        "VAMP": {"prior": "vamp(components=50)"},
        "β-TC": {"objective": "beta-tc(beta=6)"},
    }[model]
    vae = logvar.VAE(
        LATENTS, network="mlp(hidden=[512])", likelihood="bernoulli", learning_rate=RATE,
        batch_size=BATCH, epochs=epochs, validation_fraction=0.0, patience=0, random_state=seed,
        **settings,
    )  # fmt: skip
    turns.wait()
    vae.fit(train, watcher=InTurns())
    return vae.score_samples(test, n_samples=DRAWS)


def by_pythae(model, seed, epochs, train, test, turns):
    import torch
    from pythae import models
    from pythae.data.datasets import BaseDataset
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from torch import nn
    from torch.nn import functional as F

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.SiLU())
            self.mean, self.log_variance = nn.Linear(512, LATENTS), nn.Linear(512, LATENTS)

        def forward(self, x):
            h = self.body(x)
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_variance(h))

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Linear(LATENTS, 512), nn.SiLU(), nn.Linear(512, 784), nn.Sigmoid()
            )

        def forward(self, z):
            return ModelOutput(reconstruction=self.body(z).reshape(-1, 1, 28, 28))

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    name, settings = {
        "VAE": ("VAE", {}),
        "IWAE": ("IWAE", {"number_samples": 10}),
        "VAMP": ("VAMP", {"number_components": 50}),
        "β-TC": ("BetaTCVAE", {"alpha": 1.0, "beta": 6.0, "gamma": 1.0}),
    }[model]
    config = getattr(models, name + "Config")(
        input_dim=(1, 28, 28), latent_dim=LATENTS, reconstruction_loss="bce", **settings
    )
    peer = getattr(models, name)(config, encoder=Encoder(), decoder=Decoder())
    images = torch.from_numpy(train.reshape(-1, 1, 28, 28))
    trainer = BaseTrainer(
        model=peer,
        train_dataset=BaseDataset(images, torch.zeros(len(images))),
        training_config=BaseTrainerConfig(
            output_dir=tempfile.mkdtemp(), num_epochs=epochs, per_device_train_batch_size=BATCH,
            learning_rate=RATE, no_cuda=True, seed=seed,
        ),
    )  # fmt: skip
    trainer.prepare_training()
    for epoch in range(1, epochs + 1):
        turns.wait()
        trainer.train_step(epoch)
        turns.done()
    peer.eval()
    found = []
    with torch.no_grad():
        for x in torch.from_numpy(test.reshape(-1, 1, 28, 28)).split(50):
            code = peer.encoder(x)
            mean, log_variance = code.embedding, code.log_covariance
            noise = torch.randn(DRAWS, *mean.shape)
            z = mean + noise * torch.exp(0.5 * log_variance)
            log_q = -0.5 * (noise**2 + log_variance).sum(-1)  # −½·log 2π is left out of both
            flat = z.reshape(-1, LATENTS)
            log_p_z = peer._log_p_z(flat) if model == "VAMP" else -0.5 * (flat**2).sum(-1)
            decoded = peer.decoder(flat).reconstruction.reshape(DRAWS, len(x), 784)
            target = x.reshape(1, len(x), 784).expand_as(decoded)
            log_p_x = -F.binary_cross_entropy(decoded, target, reduction="none").sum(-1)
            log_w = log_p_x + log_p_z.reshape(DRAWS, -1) - log_q
            found.append(torch.logsumexp(log_w, 0) - np.log(DRAWS))
    return torch.cat(found).numpy()


SIDES = {"logvar": by_logvar, "pythae": by_pythae}


def work(side, model, seed, epochs, given, out):
    with np.load(given) as file:
        train, test = file["train"], file["test"]
    np.save(out, SIDES[side](model, seed, epochs, train, test, Turns()))


def together(model, seed, epochs, given, pythons):
    """Return, of each side, the seconds of each epoch (epochs, 2) and log p of each test digit."""
    processes, answers, seconds = {}, {}, {side: [] for side in SIDES}
    for side, python in pythons.items():
        answers[side] = given.parent / f"{side}.npy"
        command = [python, __file__, "--worker", side, model, str(seed), str(epochs), str(given)]
        processes[side] = subprocess.Popen(
            [*command, str(answers[side])], env=os.environ | ONE_THREAD, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    for _ in range(epochs):
        for side, process in processes.items():
            print("go", file=process.stdin, flush=True)
            line = process.stdout.readline()
            if not line:
                sys.exit(f"{side} has stopped: run its command with --worker to see why")
            seconds[side].append([float(word) for word in line.split()])
    for side, process in processes.items():
        if process.wait():
            sys.exit(f"{side} has failed to score the test digits")
    return {s: (seconds[s], float(np.load(answers[s]).mean())) for s in SIDES}


def print_table(result):
    print("| | logvar, log p(x) | pythae, log p(x) | difference | processor time | clock |")
    print("|---|---|---|---|---|---|")
    for model, by_seed in result.items():
        log_p = np.array([[one[side]["log_p"] for side in SIDES] for one in by_seed.values()])
        columns = [log_p[:, 0], log_p[:, 1], log_p[:, 0] - log_p[:, 1]]
        cells = []
        for values in columns:
            error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
            cells.append(f"{values.mean():.2f} ± {error:.2f}")
        ours, theirs = (
            np.median(
                np.concatenate([np.array(one[side]["seconds"])[1:] for one in by_seed.values()]), 0
            )
            for side in SIDES
        )
        for i in (1, 0):
            cells.append(f"{ours[i]:.2f} s / {theirs[i]:.2f} s = {ours[i] / theirs[i]:.2f}")
        print(f"| {model} ({len(by_seed)} seeds) | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--rows", type=int, default=10_000, help="training digits")
    parser.add_argument("--tests", type=int, default=1_000, help="test digits")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--peers", default=str(HERE / ".venv" / "bin" / "python"))
    parser.add_argument("--table", action="store_true", help="print what was measured before")
    parser.add_argument("--worker", nargs=6, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        side, model, seed, epochs, given, out = arguments.worker
        return work(side, model, int(seed), int(epochs), given, out)
    schedule = f"{arguments.rows} rows, {arguments.epochs} epochs, {arguments.tests} test digits"
    kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    result = kept.setdefault(schedule, {})
    if not arguments.table:
        pythons = {"logvar": sys.executable, "pythae": arguments.peers}
        with tempfile.TemporaryDirectory() as folder:
            given = Path(folder) / "pixels.npz"
            train, test = pixels(arguments.rows, arguments.tests)
            np.savez(given, train=train, test=test)
            for seed in arguments.seeds:
                for model in arguments.models:
                    if str(seed) in result.get(model, {}):
                        continue
                    found = together(model, seed, arguments.epochs, given, pythons)
                    result.setdefault(model, {})[str(seed)] = {
                        side: {"seconds": seconds, "log_p": log_p}
                        for side, (seconds, log_p) in found.items()
                    }
                    RESULT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
                    shown = {side: round(log_p, 2) for side, (_, log_p) in found.items()}
                    print(f"seed {seed}  {model}  {shown}", flush=True)
    print(f"\n{schedule}\n")
    print_table(result)


if __name__ == "__main__":
    main()
