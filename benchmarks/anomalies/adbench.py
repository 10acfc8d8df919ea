"""Anomalies in the tables of ADBench, found by logvar and by others.

    .venv/bin/python benchmarks/anomalies/adbench.py --data FOLDER --seeds 0 1 2 3 4
    .venv/bin/python benchmarks/anomalies/adbench.py --table      # print what was measured before

FOLDER has ADBench's files, such as 14_glass.npz, with X and y (1: anomaly). Protocols of DTE (Livernoche et
al. 2024, arXiv 2305.18593). semi: trained on a half of the normal rows, drawn by the seed; tested on the other
half and all anomalies. unsupervised: trained and tested on all rows. Columns are standardized by the training
rows. Figures: area under the ROC curve and average precision, in percent; means over sets of means over seeds;
± is the standard error of that mean over seeds, which needs at least two of them on every set.

kNN (k = 5): distance to the fifth neighbour, a row not being its own. PCA: squared components over their
variances. IsolationForest: scikit-learn's. PyOD's VAE runs in an environment of its own (--peers). All methods
have their defaults on every set. What is in results/adbench.json is not computed again; --again does.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).parent
RESULT = HERE / "results" / "adbench.json"
PROTOCOLS = ("semi", "unsupervised")
BY_PYOD = "PyOD's VAE"
TRIMMED = "logvar, trimmed"


def rows_of(path, protocol, seed):
    """Return (training rows, test rows, whether each test row is an anomaly), standardized."""
    with np.load(path) as file:
        X, y = file["X"].astype(np.float64), file["y"].astype(int)
    train = test = np.arange(len(y))
    if protocol == "semi":
        normal = np.random.default_rng(seed).permutation(np.flatnonzero(y == 0))
        train = normal[: len(normal) // 2]
        test = np.concatenate([normal[len(train) :], np.flatnonzero(y == 1)])
    scaler = StandardScaler().fit(X[train])
    return scaler.transform(X[train]), scaler.transform(X[test]), y[test]


def by_logvar(train, test, seed, **settings):
    import logvar

    detector = logvar.OutlierVAE(random_state=seed, **settings).fit(train)
    return -detector.score_samples(test)


def by_trimmed(train, test, seed):
    return by_logvar(train, test, seed, objective="trimmed(fraction=0.1)")


def by_neighbours(train, test, seed):
    itself = train.shape == test.shape and (train == test).all()
    neighbours = NearestNeighbors(n_neighbors=5 + itself).fit(train)
    return neighbours.kneighbors(test)[0][:, -1]


def by_components(train, test, seed):
    pca = PCA().fit(train)
    variance = np.maximum(pca.explained_variance_, 1e-12)
    return (pca.transform(test) ** 2 / variance).sum(1)


def by_forest(train, test, seed):
    return -IsolationForest(random_state=seed).fit(train).score_samples(test)


METHODS = {
    "logvar": by_logvar,
    TRIMMED: by_trimmed,
    "kNN (k = 5)": by_neighbours,
    "PCA": by_components,
    "IsolationForest": by_forest,
    BY_PYOD: None,
}


def by_pyod(python, tables, seeds):
    """Scores of several tables, from one process of the other environment."""
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
        arrays = {
            f"{part}{s}": a
            for s, t in zip(seeds, tables, strict=True)
            for part, a in zip(("train", "test"), t[:2], strict=True)
        }
        np.savez(given, **arrays)
        worker = [python, str(HERE / "worker.py"), str(given), str(found), *map(str, seeds)]
        subprocess.run(worker, check=True, stdout=subprocess.DEVNULL)
        with np.load(found) as file:
            return [file[str(seed)] for seed in seeds]


def figures(anomalous, odd):
    return [float(100 * f(anomalous, odd)) for f in (roc_auc_score, average_precision_score)]


def measure(arguments, result):
    paths = sorted(Path(arguments.data).glob("*.npz"), key=lambda path: path.name)
    if not paths:
        sys.exit(f"{arguments.data} has no .npz file: give the folder with ADBench's tables")
    if arguments.sets:
        paths = [path for path in paths if path.stem in arguments.sets]
    for protocol in arguments.protocols:
        for path in paths:
            for method in arguments.methods:
                if method == TRIMMED and protocol == "semi":
                    continue  # no anomaly is among its training rows
                kept = (
                    result.setdefault(protocol, {}).setdefault(method, {}).setdefault(path.stem, {})
                )
                seeds = [s for s in arguments.seeds if arguments.again or str(s) not in kept]
                if not seeds:
                    continue
                start = time.perf_counter()
                tables = [rows_of(path, protocol, seed) for seed in seeds]
                if method == BY_PYOD:
                    scores = by_pyod(arguments.peers, tables, seeds)
                else:
                    scores = [
                        METHODS[method](t[0], t[1], s) for t, s in zip(tables, seeds, strict=True)
                    ]
                for seed, (_, _, anomalous), odd in zip(seeds, tables, scores, strict=True):
                    kept[str(seed)] = figures(anomalous, odd)
                RESULT.parent.mkdir(exist_ok=True)
                RESULT.write_text(json.dumps(result, indent=1) + "\n")
                mean = np.mean([kept[str(s)] for s in seeds], axis=0)
                seconds = (time.perf_counter() - start) / len(seeds)
                print(
                    f"{protocol:13}{method:18}{path.stem:22}{mean[0]:6.1f}{mean[1]:6.1f}{seconds:7.1f} s",
                    flush=True,
                )


def summary(of_sets):
    """Means over sets and their standard errors: of AUROC and of average precision."""
    by_set = [np.array(values) for values in of_sets.values()]
    mean = np.mean([values.mean(0) for values in by_set], axis=0)
    spread = [v.var(0, ddof=1) / len(v) if len(v) > 1 else np.full(2, np.nan) for v in by_set]
    return mean, np.sqrt(np.sum(spread, axis=0)) / len(by_set)


def print_table(result, names):
    """Print means over the sets and seeds that each of these methods has, protocol by protocol."""
    for protocol in PROTOCOLS:
        measured = result.get(protocol, {})
        methods = [name for name in METHODS if name in names and measured.get(name)]
        if not methods:
            continue
        of_sets = [{path: set(seeds) for path, seeds in measured[name].items()} for name in methods]
        shared = {
            path: set.intersection(*(each[path] for each in of_sets))
            for path in sorted(set.intersection(*map(set, of_sets)))
        }
        shared = {path: sorted(seeds) for path, seeds in shared.items() if seeds}
        print(f"\n{protocol}, {len(shared)} sets: {', '.join(shared)}")
        print(f"seeds: {sorted({', '.join(seeds) for seeds in shared.values()})}\n")
        print("| | AUROC | average precision |\n|---|---|---|")
        for name in methods:
            kept = {path: [measured[name][path][s] for s in shared[path]] for path in shared}
            mean, error = summary(kept)
            pairs = zip(mean, error, strict=True)
            cells = [f"{m:.1f} ± {e:.1f}" if np.isfinite(e) else f"{m:.1f}" for m, e in pairs]
            print(f"| {name} | {cells[0]} | {cells[1]} |")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="the folder with ADBench's .npz files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--sets", nargs="+", help="some of the sets, such as 14_glass")
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=PROTOCOLS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument(
        "--peers",
        default=str(HERE / ".venv" / "bin" / "python"),
        help="the Python that has PyOD and torch",
    )
    parser.add_argument("--again", action="store_true", help="compute what is there, too")
    parser.add_argument("--table", action="store_true", help="print the table alone")
    arguments = parser.parse_args()
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if not arguments.table:
        if not arguments.data:
            sys.exit("name the folder with ADBench's tables: --data FOLDER")
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        measure(arguments, result)
    print_table(result, arguments.methods)


if __name__ == "__main__":
    main()
