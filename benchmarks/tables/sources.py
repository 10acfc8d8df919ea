"""Where the tables are, and how standard errors and results are written down."""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

RESULTS = Path(__file__).parent / "results"
WINE = (
    "fixed acidity",
    "volatile acidity",
    "citric acid",
    "residual sugar",
    "chlorides",
    "free sulfur dioxide",
    "total sulfur dioxide",
    "density",
    "pH",
    "sulphates",
    "alcohol",
    "quality",
    "colour",
)


def arguments(description, tables=()):
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if tables:
        parser.add_argument("table", choices=tables)
    parser.add_argument("--data", help="folder with tables/; otherwise LOGVAR_DATA")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    return parser


def folder(given):
    given = given or os.environ.get("LOGVAR_DATA")
    if not given:
        sys.exit("name the folder with the tables: --data FOLDER, or LOGVAR_DATA=FOLDER")
    path = Path(given)
    return path / "tables" if (path / "tables").is_dir() else path


def adult(given):
    """UCI Adult: 32,561 rows; `?` is a level of its own, so that every method sees the same."""
    table = pd.read_csv(folder(given) / "adult.csv.gz", skipinitialspace=True)
    texts = table.columns[[not pd.api.types.is_numeric_dtype(t) for t in table.dtypes]]
    table[texts] = table[texts].replace("?", "unknown")
    return table, list(texts)


def wine(given, share):
    """UCI wine quality, and which cells the mask of HI-VAE's repository hides."""
    table = pd.read_csv(folder(given) / "wine_data.csv", header=None, names=WINE)
    cells = np.loadtxt(folder(given) / f"wine_Missing{share}_1.csv", delimiter=",", dtype=int) - 1
    hidden = np.zeros(table.shape, bool)
    hidden[cells[:, 0], cells[:, 1]] = True
    return table, hidden


def with_error(values):
    """Mean and standard error over seeds; NaN for one seed."""
    values = np.asarray(values, float)
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return float(values.mean()), float(error)


def figure(mean, error, digits=3):
    return f"{mean:.{digits}f} ± {error:.{digits}f}" if np.isfinite(error) else f"{mean:.{digits}f}"


def keep(name, result):
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to results/{path.name}")
