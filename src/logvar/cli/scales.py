"""`logvar scales`: print the catalogue, or facts, code or a plot of some scales."""

from pathlib import Path

from rich.table import Table

from logvar.cli.console import console
from logvar.errors import LogvarError
from logvar.recipe import Recipe
from logvar.scale_facts import SIGMAS, Facts, recorded
from logvar.storage import run_folder


def show(names: tuple[str, ...], code: str | None, plot: Path | None, run: Path | None) -> None:
    """Print the catalogue or the facts of some scales, print code, or draw a plot.

    Raises:
        LogvarError: a scale or framework is unknown, or the flags exclude each other.
    """
    known = recorded()
    if not all(name in known for name in names):
        from logvar.scales.registry import get  # imports JAX, which recorded facts do not need

        for name in names:
            get(name)
    if run is not None and plot is None:
        raise LogvarError("--run goes with --plot: its raw outputs are drawn beneath the scales")
    if code is not None:
        from logvar.interop.snippets.dialects import get as dialect
        from logvar.interop.snippets.listing import listing

        dialect(code)
        if len(names) != 1 or plot is not None:
            raise LogvarError(
                f"--code got {len(names)} scales{' and --plot' if plot else ''}: expected one "
                f"scale, as in: logvar scales softplus --code {code}"
            )
        console.print(listing(names[0], code), markup=False, highlight=False, soft_wrap=True)
        return
    if plot is not None:
        _plot(names, plot, run)
        return
    if not names:
        _catalogue(list(known.values()))
    for index, name in enumerate(names):
        if index:
            console.print()
        _facts(known.get(name) or _computed(name), alone=len(names) == 1)


def _computed(name: str) -> Facts:
    from logvar.scales.facts import facts

    return facts(name)


def _catalogue(catalogue: list[Facts]) -> None:
    table = Table(box=None)
    # Names are for copying, so they are never cut in a narrow terminal.
    table.add_column("name", no_wrap=True, min_width=max(len(each.name) for each in catalogue))
    for heading in ("formula", "σ reaches", "d at σ = 1", "KL convex"):
        table.add_column(heading)
    for known in catalogue:
        table.add_row(
            known.name,
            known.formula,
            _bounds(known),
            _number(known.slopes[1]),
            _yes(known.is_convex),
        )
    console.print(table, highlight=False)
    console.print(
        "wrappers: clamped(SCALE, low=…, high=…), floored(SCALE, minimum=…)", highlight=False
    )


def _facts(known: Facts, *, alone: bool) -> None:
    slopes = ", ".join(
        f"{_number(slope)} at σ = {sigma:g}"
        for slope, sigma in zip(known.slopes, SIGMAS, strict=True)
    )
    low, high = known.safe_ranges[0]
    lines = {} if alone else {"scale": known.name}
    lines |= {
        "formula": known.formula,
        "reference": known.reference,
        "σ(0)": f"{known.sigma_at_zero:.6g}",
        "raw at σ = 1": "unreachable" if known.raw_at_one is None else f"{known.raw_at_one:.6g}",
        "d log σ/dr": slopes,
        "KL″ at σ = 1": _number(known.curvature),
        "σ reaches": _bounds(known),
        "safe raw outputs": f"[{low:.6g}, {high:.6g}] in float32 on a CPU",
        "KL convex in raw": _yes(known.is_convex),
    }
    for key, value in lines.items():
        console.print(f"{key:<22}{value}", highlight=False, soft_wrap=True, markup=False)


def _plot(names: tuple[str, ...], plot: Path, run: Path | None) -> None:
    from logvar.report.scale_figure import check_ending, draw_scales

    check_ending(plot)
    chosen = list(names)
    raw_outputs = None
    if run is not None:
        run_folder.read_manifest(run)  # refuses an incomplete run
        path = run / run_folder.EVALUATION
        if not path.is_file():
            raise LogvarError(f"{run} has no {path.name}: expected a run that `logvar fit` wrote")
        seen = run_folder.read_json(path)["raw_outputs"]
        recipe = Recipe.from_toml(run_folder.read_recipe(run))
        scale = recipe.model.scale
        raw_outputs = (seen["counts"], seen["edges"], f"{run} under {scale}")
        chosen = chosen if scale in chosen else [scale, *chosen]
    if not chosen:
        raise LogvarError(
            "--plot got no scales: name some, as in: logvar scales log-variance softplus --plot "
            f"{plot}; or give --run RUN"
        )
    draw_scales(plot, chosen, raw_outputs=raw_outputs)
    console.print(f"{plot}: {', '.join(chosen)}", highlight=False, soft_wrap=True, markup=False)


def _bounds(known: Facts) -> str:
    low, high = known.bounds
    return f"({low:.4g}, {'∞' if high == float('inf') else f'{high:.4g}'})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
