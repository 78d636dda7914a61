"""The tables of the supplement, as the papers have them: means with 95 % intervals over seeds.

Each function takes rows, settings and other tables, and gives a caption and lines of Typst markup, the head first.
"""

from hw1.report.words import show
from hw1.statistics import geometric_mean, mean_interval


def large_batch(frame, settings, **_) -> dict:
    """Keskar et al.'s tables 3 and 4: φ of both batch sizes in each box."""
    small, large = settings["batch_sizes"]
    lines = [["net", "space", "ε", f"φ (%), batch {small}", f"φ (%), batch {large}", "ratio of the two"]]
    both = frame[frame.batch_size.isin([small, large])]
    for (net, space, epsilon), rows in both.groupby(["net", "space", "epsilon"], sort=False):
        values = rows.pivot(index="seed", columns="batch_size", values="value")
        measured = values[small], values[large], values[large] / values[small]
        lines.append([net, space, f"{epsilon:g}", *(show(geometric_mean(column)) for column in measured)])
    return {"caption": "Sharpness φ of small and large batches (geometric means).", "lines": lines}


def spectrum(frame, settings, nets, **_) -> dict:
    """Yao et al.'s table: accuracies and λ₁ of both losses for each batch size; outliers and trace beside it."""
    names = {"train_accuracy": "training accuracy", "test_accuracy": "test accuracy"}
    names |= {"train_largest": "λ₁, training loss", "test_largest": "λ₁, test loss"}
    names |= {"outliers": "outliers by gap", "largest_ratio": "by ratio", "trace": "trace"}
    lines = [["data", "batch", *names.values()]]
    rows = frame.merge(nets, on=["data", "batch_size", "seed"], how="left")
    for (data, size), part in rows.groupby(["data", "batch_size"], sort=False):
        found = [show(mean_interval(part[name])) if part[name].notna().any() else "" for name in names]
        lines.append([data, str(size), *found])
    return {"caption": "Accuracies, largest eigenvalues, outliers and trace against the batch size.", "lines": lines}


TABLES = {"large_batch": large_batch, "spectrum": spectrum}
