"""Fit scvi-tools' SCVI with one thread and score held-out cells: run by pbmc.py in an environment of its own.

    python worker.py cells.npz out.npz likelihood epochs samples seed

Writes log p of each held-out cell and the processor seconds of an epoch. The estimate is pbmc.py's: log 1/k · Σ
p(x | z)·p(z)/q(z | x) over k draws of z from SCVI's own encoder, with the cell's total as its library, in float64.
Dropout and batch normalization are as in SCVI's evaluation.
"""

import os
import sys
import time

source, out, likelihood, epochs, samples, seed = sys.argv[1:]
epochs, samples, seed = int(epochs), int(samples), int(seed)
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})

import logging  # noqa: E402
import warnings  # noqa: E402

warnings.simplefilter("ignore")
import anndata  # noqa: E402
import numpy as np  # noqa: E402
import scvi  # noqa: E402
import torch  # noqa: E402
from scipy import sparse  # noqa: E402

logging.disable(logging.INFO)
torch.set_num_threads(1)
scvi.settings.seed = seed
scvi.settings.verbosity = logging.ERROR
with np.load(source) as cells:
    train, test = cells["train"], cells["test"]

adata = anndata.AnnData(sparse.csr_matrix(train))
scvi.model.SCVI.setup_anndata(adata)
model = scvi.model.SCVI(adata, n_hidden=128, n_latent=10, n_layers=1, gene_likelihood=likelihood)
plan = {"n_epochs_kl_warmup": None, "min_kl_weight": 1.0}  # the ELBO from the first epoch
start = time.process_time()
model.train(
    max_epochs=epochs, accelerator="cpu", train_size=1.0, batch_size=128, plan_kwargs=plan,
    logger=False, enable_progress_bar=False, enable_checkpointing=False,
)  # fmt: skip
seconds = (time.process_time() - start) / epochs


def log_prob(x, means, px):
    """log p of counts in float64, from SCVI's own parameters."""
    if likelihood == "poisson":
        return x * means.log() - means - torch.lgamma(x + 1)
    theta = px.theta.double()
    log_p = torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
    log_p = log_p + theta * (theta / (theta + means)).log() + x * (means / (theta + means)).log()
    if likelihood == "nb":
        return log_p
    logit = px.zi_logits.double()
    some = torch.nn.functional.logsigmoid(-logit) + log_p
    return torch.where(x > 0, some, torch.logaddexp(torch.nn.functional.logsigmoid(logit), some))


scores = []
module = model.module.eval()
with torch.no_grad():
    for i in range(0, len(test), 50):
        x = torch.tensor(test[i : i + 50])
        batch = torch.zeros(len(x), 1)
        found = module.inference(x, batch, n_samples=samples)
        made = module.generative(found["z"], found["library"], batch)
        z, qz, px = found["z"].double(), found["qz"], made["px"]
        rate = px.rate if likelihood == "poisson" else px.mu
        each = log_prob(x.double(), rate.double().clamp_min(1e-300), px).sum(-1)
        q = torch.distributions.Normal(qz.loc.double(), qz.scale.double())
        each = each + (torch.distributions.Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)).sum(-1)
        scores.append((torch.logsumexp(each, 0) - np.log(samples)).numpy())
np.savez(out, scores=np.concatenate(scores), seconds=seconds)
