"""Tables of known parameters: does a sample have them?

    .venv/bin/python benchmarks/tables/known.py --seeds 0 1 2

One table of 5,000 rows (`--rows`) is drawn from the process below, logvar's default recipe is trained on it,
and as many rows are sampled. For each statistic the command prints its true value (over 2,000,000 rows), that of
the training rows and that of the sample, and by how many standard errors the sample is off. The standard
error is that of the difference between two independent tables of so many rows, (√2 times the spread of
the statistic over 100 tables drawn from the true process); with several seeds (other table, other fit), means
over seeds, and the standard error divided by the square root of their number. Off by at most 3 standard
errors is "recovered within error". A second error, of the fit itself, is not in it.

segment   a category: shares 0.60, 0.30, 0.08 and 0.02
score     Normal(mean by segment: 0, 2, −1, 4; 1): a number and a category that go together (CTGAN #138)
loss      zero for 70 % of rows (for 40 % in segment b), otherwise lognormal(5, 1), in cents
change    10 × Student-t with 3 degrees of freedom: heavy tails
delay     two peaks, Normal(±3, 0.5²), with hardly anything between
visits    negative binomial, mean 4, variance 12: integers
height    Normal(170, 10²); weight: Normal(70, 15²), correlation 0.7 with height
member    yes with probability 1/(1 + exp(1 − score))
"""

import numpy as np
import pandas as pd
from sources import arguments, keep

import logvar

SEGMENTS, SHARES = np.array(list("abcd")), (0.60, 0.30, 0.08, 0.02)


def drawn(rows, seed):
    rng = np.random.default_rng(seed)
    segment = rng.choice(4, rows, p=SHARES)
    score = rng.normal(np.array([0.0, 2.0, -1.0, 4.0])[segment], 1)
    has_loss = rng.random(rows) > np.where(segment == 1, 0.4, 0.7)
    height = rng.normal(0, 1, rows)
    weight = 0.7 * height + np.sqrt(1 - 0.7**2) * rng.normal(0, 1, rows)
    return pd.DataFrame(
        {
            "segment": SEGMENTS[segment],
            "score": score,
            "loss": np.where(has_loss, np.round(np.exp(rng.normal(5, 1, rows)), 2), 0.0),
            "change": 10 * rng.standard_t(3, rows),
            "delay": rng.choice([-3.0, 3.0], rows) + 0.5 * rng.normal(0, 1, rows),
            "visits": rng.negative_binomial(2, 1 / 3, rows),
            "height": np.round(170 + 10 * height, 1),
            "weight": np.round(70 + 15 * weight, 1),
            "member": np.where(rng.random(rows) < 1 / (1 + np.exp(1 - score)), "yes", "no"),
        }
    )


def statistics(table):
    segment, score, loss = table["segment"], table["score"], table["loss"]
    found = {f"share of {level}": (segment == level).mean() for level in SEGMENTS}
    means = [score[segment == level].mean() for level in SEGMENTS]
    found |= {f"mean score in {s}": m for s, m in zip(SEGMENTS, means, strict=True)}
    between = np.sum(
        [
            (segment == s).mean() * (m - score.mean()) ** 2
            for s, m in zip(SEGMENTS, means, strict=True)
        ]
    )
    found["correlation ratio of score and segment"] = np.sqrt(between / score.var(ddof=0))
    found["share of losses of 0"] = (loss == 0).mean()
    found["the same in segment b"] = (loss[segment == "b"] == 0).mean()
    found["mean log of other losses"] = np.log(loss[loss > 0]).mean()
    found["their standard deviation"] = np.log(loss[loss > 0]).std()
    for level in (0.001, 0.01, 0.5, 0.99, 0.999):
        found[f"change, quantile {level}"] = table["change"].quantile(level)
    found["loss, quantile 0.99"] = loss.quantile(0.99)
    found["loss, quantile 0.999"] = loss.quantile(0.999)
    found["share of delays below 0"] = (table["delay"] < 0).mean()
    found["share of delays in the valley, ±1.5"] = (table["delay"].abs() < 1.5).mean()
    found["standard deviation of the upper peak"] = table["delay"][table["delay"] > 0].std()
    found["mean of visits"] = table["visits"].mean()
    found["variance of visits"] = table["visits"].var()
    found["share of 0 visits"] = (table["visits"] == 0).mean()
    found["correlation of height and weight"] = table["height"].corr(table["weight"])
    found["standard deviation of weight"] = table["weight"].std()
    found["share of members"] = (table["member"] == "yes").mean()
    found["their mean score over others'"] = (
        score[table["member"] == "yes"].mean() - score[table["member"] == "no"].mean()
    )
    found["correlation of height and score"] = table["height"].corr(score)
    return pd.Series(found)


def main(given):
    truth = statistics(drawn(2_000_000, 1_000_000))
    several = pd.DataFrame([statistics(drawn(given.rows, 1000 + i)) for i in range(100)])
    error = np.sqrt(2) * several.std() / np.sqrt(len(given.seeds))
    trained, sampled = [], []
    for seed in given.seeds:
        table = drawn(given.rows, seed)
        vae = logvar.VAE(random_state=seed, **given.settings).fit(table)
        print(f"seed {seed}: {vae.n_iter_} epochs, {vae.ended_}", flush=True)
        sample = vae.sample(given.rows)
        if not pd.api.types.is_integer_dtype(sample["visits"].dtype) or sample["visits"].min() < 0:
            raise SystemExit("visits are not integers of at least 0")
        trained.append(statistics(table))
        sampled.append(statistics(sample))
    trained, sampled = pd.DataFrame(trained).mean(), pd.DataFrame(sampled).mean()
    found = pd.DataFrame(
        {
            "true": truth,
            "training": trained,
            "sample": sampled,
            "error": error,
            "off": (sampled - truth) / error,
        }
    )
    print(f"{'':40}{'true':>10}{'training':>10}{'sample':>10}{'error':>9}{'off by':>8}")
    for name, row in found.iterrows():
        mark = "" if abs(row.off) <= 3 else "  beyond 3"
        print(
            f"{name:40}{row.true:10.4g}{row.training:10.4g}{row['sample']:10.4g}{row.error:9.2g}{row.off:+8.1f}{mark}"
        )
    print(f"{(found.off.abs() <= 3).sum()} of {len(found)} within 3 standard errors")
    return {"rows": given.rows, "seeds": given.seeds, "statistics": found.round(6).to_dict("index")}


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of VAE"
    )
    given = parser.parse_args()
    given.settings = {}
    for text in given.set:
        name, value = text.split("=", 1)
        given.settings[name] = (
            float(value)
            if "." in value or "e-" in value
            else int(value)
            if value.isdigit()
            else value
        )
    found = main(given)
    if not given.settings:
        keep("known", found)
