"""How much synthetic rows are like real ones. Each measure is 1 for equal tables, or named otherwise."""

import itertools

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score


def column_shapes(real, synthetic, texts):
    """By column: 1 − Kolmogorov–Smirnov's statistic of numbers, 1 − total variation of categories.

    As KSComplement and TVComplement of SDMetrics.
    """
    found = {}
    for name in real.columns:
        if name in texts:
            found[name] = 1 - _total_variation(real[name], synthetic[name])
        else:
            found[name] = 1 - ks_2samp(real[name], synthetic[name]).statistic
    return pd.Series(found)


def pair_trends(real, synthetic, texts, bins=10):
    """By pair of columns, as CorrelationSimilarity and ContingencySimilarity of SDMetrics.

    Two numbers: 1 − |difference of Pearson's correlations|/2. Otherwise: 1 − total variation between the
    shares of pairs of levels; numbers are first put into ten bins of equal width over the real range, and one more
    on each side.
    """
    real_codes, codes = {}, {}
    for name in real.columns:
        if name in texts:
            levels = pd.Index(real[name].unique()).union(pd.Index(synthetic[name].unique()))
            real_codes[name], codes[name] = (
                levels.get_indexer(real[name]),
                levels.get_indexer(synthetic[name]),
            )
        else:
            edges = np.histogram_bin_edges(real[name], bins)
            edges[-1] = np.nextafter(edges[-1], np.inf)
            real_codes[name], codes[name] = (
                np.digitize(real[name], edges),
                np.digitize(synthetic[name], edges),
            )
    numbers = [name for name in real.columns if name not in texts]
    correlations = (real[numbers].corr() - synthetic[numbers].corr()).abs() / 2
    found = {}
    for a, b in itertools.combinations(real.columns, 2):
        if a in numbers and b in numbers:
            found[a, b] = 1 - correlations.loc[a, b]
        else:
            wide = 1 + max(real_codes[b].max(), codes[b].max())
            found[a, b] = 1 - _total_variation(
                pd.Series(real_codes[a] * wide + real_codes[b]),
                pd.Series(codes[a] * wide + codes[b]),
            )
    return pd.Series(found)


def _total_variation(real, synthetic):
    shares = real.value_counts(normalize=True), synthetic.value_counts(normalize=True)
    return float(shares[0].subtract(shares[1], fill_value=0).abs().sum() / 2)


def usefulness(synthetic, real, target, texts, seed):
    """Train gradient-boosted trees on synthetic rows, test on real ones.

    Returns, for each real row, whether its level was predicted, and the score of the higher level.
    """
    features = [name for name in real.columns if name != target]
    levels = {name: pd.Index(sorted(real[name].unique())) for name in texts}

    def numbers(table):
        return np.column_stack(
            [
                levels[name].get_indexer(table[name]).astype(float)
                if name in texts
                else table[name].astype(float)
                for name in features
            ]
        )

    trees = HistGradientBoostingClassifier(
        random_state=seed, categorical_features=[name in texts for name in features]
    )
    x, y = numbers(synthetic), synthetic[target].to_numpy(str)
    trees.fit(np.where(x < 0, np.nan, x), y)
    x = numbers(real)
    return trees.predict(x) == real[target].to_numpy(str), trees.predict_proba(x)[:, -1]


def auroc(real_target, scores):
    return roc_auc_score(real_target == max(real_target), scores)


def distances(rows, others, texts, spread):
    """Of each row the distance to the closest of others: the mean over columns of |difference|/spread, at
    most 1, for numbers, and of 0 or 1 for equal or other levels. (Gower's, with a robust range.)"""
    nearest = np.empty(len(rows), np.float32)
    theirs = {}
    for name in others.columns:
        if name in texts:
            levels = pd.Index(others[name].unique())
            theirs[name] = levels.get_indexer(rows[name]), levels.get_indexer(others[name])
        else:
            theirs[name] = tuple(
                np.asarray(t[name] / spread[name], np.float32) for t in (rows, others)
            )
    for start in range(0, len(rows), 50):
        part, total = slice(start, start + 50), np.float32(0)
        for name, (mine, other) in theirs.items():
            difference = mine[part, None] - other
            total = total + (
                (difference != 0) if name in texts else np.minimum(np.abs(difference), 1)
            )
        nearest[part] = total.min(1) / len(theirs)
    return nearest


def copying(rows, training, held_out, texts, seed):
    """Are rows nearer to training rows than to held-out rows?

    Each row is compared with all held-out rows and as many training rows. Returns the share of rows nearer to
    training rows (a tie counts one half), which is 0.5 if training rows are not copied; its standard error; the
    medians of both distances; and the share of rows at distance 0 from each.
    """
    rng = np.random.default_rng(seed)
    training = training.iloc[rng.choice(len(training), len(held_out), replace=False)]
    numbers = [name for name in training.columns if name not in texts]
    spread = {
        name: max(float(np.ptp(np.quantile(held_out[name], [0.01, 0.99]))), 1.0) for name in numbers
    }
    near, far = (distances(rows, t, texts, spread) for t in (training, held_out))
    closer = np.where(near == far, 0.5, near < far)
    return {
        "nearer_to_training": float(closer.mean()),
        "standard_error": float(closer.std(ddof=1) / np.sqrt(len(closer))),
        "median_distances": [float(np.median(near)), float(np.median(far))],
        "same_as_some_row": [float((near == 0).mean()), float((far == 0).mean())],
    }
