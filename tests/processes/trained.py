"""Train a small table on so many CPU devices of one process, and print what came out.

python -m tests.processes.trained 1,4,0 2,4,0 …    # devices, shards and the window
"""

import hashlib
import json
import sys

import jax
import numpy as np

import logvar
from logvar.processes.placement import Placement


def main() -> None:
    jax.config.update("jax_num_cpu_devices", 4)
    from logvar import estimator

    rng = np.random.default_rng(0)
    rows = rng.random((90, 6)).astype(np.float32)
    for text in sys.argv[1:]:
        devices, shards, window = map(int, text.split(","))
        used = jax.devices()[:devices]
        estimator.placement_for = lambda *_, used=used: (
            Placement.of(used) if len(used) > 1 else None
        )
        vae = logvar.VAE(
            latent_dim=2, network="mlp(hidden=[8])", likelihood="normal",
            epochs=2, patience=0, batch_size=16, shards=shards,
            window=window or "all",
        ).fit(rows, announce=lambda line: None, sample_weight=np.arange(1, 91) / 45)  # fmt: skip
        weights = [
            np.asarray(leaf) for leaf in jax.tree.leaves(vae.model_) if hasattr(leaf, "shape")
        ]
        digest = hashlib.sha256(b"".join(leaf.tobytes() for leaf in weights)).hexdigest()
        sample = np.concatenate([leaf.ravel() for leaf in weights]).astype(float).tolist()
        sys.stdout.write(json.dumps([text, digest, vae.history_, sample]) + "\n")


if __name__ == "__main__":
    main()
