"""Fit one method on training rows with one thread, and write synthetic rows: run by synthetic.py.

    python worker.py tvae|logvar train.csv texts.json out.csv seed epochs

Prints the processor seconds (user and system) of fitting, imports left out, as its last line. epochs 0 is
each method's default.
"""

import json
import os
import sys
import time

method, training, texts, out, seed, epochs = sys.argv[1:]
seed, epochs = int(seed), int(epochs)
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

table = pd.read_csv(training, keep_default_na=False)
with open(texts) as file:
    texts = json.load(file)

if method == "tvae":
    import torch
    from ctgan import TVAE

    torch.set_num_threads(1)
    np.random.seed(seed)  # noqa: NPY002 (which ctgan draws from)
    torch.manual_seed(seed)
    model = TVAE(enable_gpu=False, **({"epochs": epochs} if epochs else {}))
    start = time.process_time()
    model.fit(table, texts)
    seconds, said = time.process_time() - start, f"{model.epochs} epochs"
    sample = model.sample(len(table))
else:
    import logvar

    settings = json.loads(os.environ.get("LOGVAR_SETTINGS", "{}"))
    model = logvar.VAE(random_state=seed, **({"epochs": epochs} if epochs else {}), **settings)
    import jax  # noqa: F401

    start = time.process_time()
    model.fit(table)
    seconds, said = time.process_time() - start, f"{model.n_iter_} epochs, {model.ended_}"
    sample = model.sample(len(table))

sample[table.columns].to_csv(out, index=False)
print(json.dumps({"seconds": seconds, "said": said}))
