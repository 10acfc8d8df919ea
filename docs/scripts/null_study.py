"""Is the comparison itself true? A scale against itself, 200 times.

    python docs/scripts/null_study.py

Each study compares log-variance with two other groups of runs that are log-variance too, under
other names and with seeds of their own: eight seeds a group, two learning rates, the best rate
chosen on validation, all through the pipeline of `logvar.compare`. There is no difference to find,
so at 95 % at most 5 % of the studies should call one.
"""

import argparse

import numpy as np

from logvar.recipe import Recipe
from logvar.study.arms import AS_IS
from logvar.study.experiment import Experiment, Unit, rows_of, run_unit
from logvar.study.statistics import proportion_interval
from logvar.study.verdicts import BEST_RATE, BETTER, WORSE, Table, judge

# The names only label groups of runs: every one of them is trained under the first.
GROUPS = ("log-variance", "log-std", "isometric")
RATES = (3e-3, 3e-2)
AT_ONCE = 48


def experiment(seeds: int) -> Experiment:
    recipe = Recipe().replace(
        latent_dim=2,
        network="mlp(hidden=[8])",
        batch_size=64,
        epochs=15,
        patience=0,
        likelihood="normal",
    )
    return Experiment(
        GROUPS, RATES, seeds, (AS_IS,), margin=0.2, level=0.95, splits=1, test_fraction=0.3,
        validation_fraction=0.2, importance_samples=1, recipe=recipe,
    )  # fmt: skip


def data(rows: int = 300) -> np.ndarray:
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(rows, 2))
    return np.tanh(latents @ rng.normal(size=(2, 6))) + 0.3 * rng.normal(size=(rows, 6))


def trained(settings: Experiment, rows, seeds: int) -> tuple[list[dict], np.ndarray]:
    """One run for each rate and seed, as many as all studies need, each seed used once."""
    lines, elbos = [], []
    for first in range(0, seeds, AT_ONCE):
        some = tuple(range(first, min(first + AT_ONCE, seeds)))
        for rate in RATES:
            outcome = run_unit(settings, rows, Unit(0, GROUPS[0], AS_IS, rate, first, some))
            lines += outcome.runs
            elbos.append(outcome.row_elbos)
    return lines, np.concatenate(elbos)


def study(settings: Experiment, lines: list[dict], elbos: np.ndarray, number: int) -> list:
    """The verdicts of one study, whose runs are relabelled as three groups."""
    relabelled, places = [], []
    n = settings.seeds
    for group, name in enumerate(GROUPS):
        first = (number * len(GROUPS) + group) * n
        for i, line in enumerate(lines):
            if first <= line["seed"] < first + n:
                relabelled.append(line | {"scale": name, "seed": line["seed"] - first})
                places.append(i)
    return judge(Table(settings, relabelled, elbos[places]), 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=8)
    chosen = parser.parse_args()
    settings = experiment(chosen.seeds)
    rows = rows_of(settings, data().astype(np.float32), None, 0)
    lines, elbos = trained(settings, rows, chosen.studies * len(GROUPS) * chosen.seeds)
    print(f"{len(lines):,} models, {sum(line['diverged'] for line in lines)} diverged")
    for at, name in ((True, "best rates, chosen on validation"), (False, "the same rates")):
        called = 0
        for number in range(chosen.studies):
            verdicts = study(settings, lines, elbos, number)
            family = [v for v in verdicts if (v.at == BEST_RATE) == at]
            called += any(v.verdict in (BETTER, WORSE) for v in family)
        low, high = proportion_interval(called, chosen.studies)
        print(
            f"{name}: {called} of {chosen.studies} studies called a difference among "
            f"{len(family)} comparisons, {called / chosen.studies:.1%} [{low:.1%}, {high:.1%}]"
        )


if __name__ == "__main__":
    main()
