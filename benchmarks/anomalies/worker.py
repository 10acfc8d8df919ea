"""PyOD's VAE with its defaults, in the environment that has it: worker.py GIVEN.npz FOUND.npz SEED …"""

import sys

import numpy as np
import torch
from pyod.models.vae import VAE

given, found, *seeds = sys.argv[1:]
torch.set_num_threads(1)
scores = {}
with np.load(given) as file:
    for seed in seeds:
        detector = VAE(random_state=int(seed), verbose=0).fit(file[f"train{seed}"])
        scores[seed] = detector.decision_function(file[f"test{seed}"])
np.savez(found, **scores)
