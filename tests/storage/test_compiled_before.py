"""What was compiled before, in this process or by another one, changes no byte of a run.

Compiled as users do: without XLA's optimizations, another padding would go unnoticed.
"""

import hashlib
import os
import subprocess
import sys

import jax
import numpy as np
from sklearn.datasets import load_iris

import logvar

X = load_iris().data.astype(np.float32)
TWICE = np.concatenate([X, X + 0.1])


def fit(rows):
    return logvar.VAE(latent_dim=2, network="mlp(hidden=[8])", epochs=2).fit(rows)


def digest(vae):
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(vae.model_) if hasattr(leaf, "shape")]
    return hashlib.sha256(b"".join(leaf.tobytes() for leaf in leaves)).hexdigest()


FRESH = (
    "import jax\n"
    "from collections import Counter\n"
    "from tests.storage.test_compiled_before import X, digest, fit\n"
    "events = Counter()\n"
    "jax.monitoring.register_event_listener(lambda name, **_: events.update([name]))\n"
    "vae = fit(X[:97])\n"
    "of = '/jax/compilation_cache/'\n"
    "print(digest(vae), vae.history_[-1]['loss'], events[of + 'compile_requests_use_cache'], "
    "events[of + 'cache_hits'])"
)


def in_a_fresh_process(cache):
    """(weights, loss, programs asked for, those found in the cache) of a fit of 97 rows."""
    environment = os.environ | {"LOGVAR_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", FRESH], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_bytes_do_not_depend_on_what_was_compiled_before(tmp_path):
    """Alone, after fits of other sizes, and with every program from the cache on disk."""
    jax.clear_caches()  # of programs that other tests compiled without optimizations
    for rows in (TWICE, X, X[:40]):
        fit(rows)
    vae = fit(X[:97])
    here = [digest(vae), str(vae.history_[-1]["loss"])]
    *alone, asked, found = in_a_fresh_process(tmp_path / "cache")
    assert int(asked) > int(found) == 0 and alone == here
    *again, asked, found = in_a_fresh_process(tmp_path / "cache")
    assert int(asked) == int(found) > 0 and again == here
