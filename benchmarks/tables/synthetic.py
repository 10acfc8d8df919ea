"""Synthetic rows of UCI Adult: logvar beside CTGAN's TVAE and beside a copy of the training rows.

    make tables-peers
    .venv/bin/python benchmarks/tables/synthetic.py adult --data FOLDER --seeds 0 1 2

For each seed, the 32,561 rows are shuffled and split into 75 % for training and 25 % held out. Both methods
get the same training rows and their defaults (TVAE: 300 epochs), with `?` as a level of its own, one thread on one
processor; TVAE is told which columns are texts, logvar finds the kinds. As many rows are sampled as there
are training rows, and compared with the held-out rows:

shapes     mean over the 15 columns of 1 − KS or 1 − total variation
pairs      mean over the 105 pairs of columns of their correlation's or contingency table's similarity
accuracy   of gradient-boosted trees for income, trained on synthetic rows, tested on held-out rows
AUROC      of the same
nearer     share of 1,000 synthetic rows that are nearer to training than to held-out rows; 0.5 is no copying
seconds    processor time, user and system, of `fit`

`measures.py` defines them. "training rows" are the training rows themselves: what is left to 1 is chance, or what
the trees cannot know. ± is one standard error: over seeds (split and fit), or with one seed over 50 bootstrap
samples of both tables' rows (of the held-out rows for accuracy and AUROC).
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from measures import auroc, column_shapes, copying, pair_trends, usefulness
from sources import adult, arguments, figure, keep, with_error

HERE = Path(__file__).parent
PEERS = HERE / ".venv" / "bin" / "python"
TARGET = "income"
FIGURES = {"shapes": 4, "pairs": 4, "accuracy": 4, "auroc": 4, "nearer": 3, "seconds": 0}
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def synthetic_rows(method, training, texts, seed, epochs):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        training.to_csv(folder / "training.csv", index=False)
        (folder / "texts.json").write_text(json.dumps(texts))
        python = PEERS if method == "tvae" else Path(sys.executable)
        command = [python.absolute(), (HERE / "worker.py").absolute(), method]
        command += ["training.csv", "texts.json", "out.csv", str(seed), str(epochs)]
        environment = os.environ | ONE_THREAD
        if path := environment.get("PYTHONPATH"):
            environment["PYTHONPATH"] = os.path.abspath(path)
        done = subprocess.run(
            command, cwd=folder, env=environment, check=True, capture_output=True, text=True
        )
        said = json.loads(done.stdout.strip().splitlines()[-1])
        return pd.read_csv(folder / "out.csv", keep_default_na=False), said


def figures_of(synthetic, training, held_out, texts, seed):
    right, scores = usefulness(synthetic, held_out, TARGET, texts, seed)
    shapes, pairs = (f(held_out, synthetic, texts) for f in (column_shapes, pair_trends))
    some = synthetic.sample(1000, random_state=seed)
    found = {
        "shapes": shapes.mean(),
        "pairs": pairs.mean(),
        "accuracy": right.mean(),
        "auroc": auroc(held_out[TARGET].to_numpy(str), scores),
        "shapes_by_column": shapes.to_dict(),
        "worst_pairs": {f"{a}, {b}": v for (a, b), v in pairs.nsmallest(10).items()},
        "copying": copying(some, training, held_out, texts, seed),
    }
    found["nearer"] = found["copying"]["nearer_to_training"]
    errors = _bootstrap(synthetic, held_out, texts, right, scores, seed)
    found["errors"] = errors | {"nearer": found["copying"]["standard_error"]}
    return found


def _bootstrap(synthetic, held_out, texts, right, scores, seed, times=50):
    rng, found = np.random.default_rng(seed), []
    target = held_out[TARGET].to_numpy(str)
    for _ in range(times):
        theirs = rng.integers(0, len(held_out), len(held_out))
        ours = rng.integers(0, len(synthetic), len(synthetic))
        real, other = held_out.iloc[theirs], synthetic.iloc[ours]
        shapes, pairs = (
            column_shapes(real, other, texts).mean(),
            pair_trends(real, other, texts).mean(),
        )
        found.append([shapes, pairs, right[theirs].mean(), auroc(target[theirs], scores[theirs])])
    return dict(
        zip(
            ("shapes", "pairs", "accuracy", "auroc"), np.std(found, 0, ddof=1).tolist(), strict=True
        )
    )


def main(given):
    if "tvae" in given.methods and not PEERS.exists():
        sys.exit("TVAE is not installed: run `make tables-peers`, or choose --methods copy logvar")
    table, texts = adult(given.data)
    if given.rows:
        table = table.iloc[: given.rows]
    found = {}
    for seed in given.seeds:
        order = np.random.default_rng(seed).permutation(len(table))
        cut = len(table) * 3 // 4
        training, held_out = (
            table.iloc[o].reset_index(drop=True) for o in (order[:cut], order[cut:])
        )
        for method in given.methods:
            if method == "copy":
                synthetic, said = training, {"seconds": 0.0, "said": ""}
            else:
                synthetic, said = synthetic_rows(method, training, texts, seed, given.epochs)
            here = figures_of(synthetic, training, held_out, texts, seed) | said
            found.setdefault(method, {})[str(seed)] = here
            shown = "  ".join(f"{k} {here[k]:.{d}f}" for k, d in FIGURES.items())
            print(f"seed {seed}  {method:8}{shown}  {here['said']}", flush=True)
    print()
    print(f"{'':16}" + "".join(f"{name:>18}" for name in FIGURES))
    for method in given.methods:
        line = f"{'training rows' if method == 'copy' else method:16}"
        for name, digits in FIGURES.items():
            each = list(found[method].values())
            mean, error = with_error([one[name] for one in each])
            if len(each) == 1:
                error = each[0]["errors"].get(name, np.nan)
            line += f"{figure(mean, error, digits):>18}"
        print(line)
    return found


if __name__ == "__main__":
    parser = arguments(__doc__, ("adult",))
    parser.add_argument(
        "--epochs", type=int, default=0, help="of both methods; 0 is each one's default"
    )
    parser.add_argument(
        "--rows", type=int, default=0, help="the first rows alone, to try the command"
    )
    parser.add_argument("--methods", nargs="+", default=["copy", "tvae", "logvar"])
    given = parser.parse_args()
    result = main(given)
    if not (given.epochs or given.rows) and len(given.methods) == 3:
        keep("synthetic-adult", result)
