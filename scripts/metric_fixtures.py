"""Numbers of scikit-learn and jiwer that `recurrent::metrics` is tested against.

Writes tests/fixtures/metrics.json. The file in the repository was made with
scikit-learn 1.9.1, jiwer 4.0.0 and numpy 2.4.6. From the repository root:

    pip install scikit-learn==1.9.1 jiwer==4.0.0 numpy==2.4.6
    python scripts/metric_fixtures.py

Seeds are fixed: a rerun with the same versions gives the same bytes. A list of cases each, what goes in beside what
comes out of it; null is what is not defined (scikit-learn's `zero_division` NaN). Rows `[R, O]` are flat.

    confusion     targets, predicted [R] of `classes`; counts [K, K], precision, recall and f1 of each class
    top_k         targets [R], outputs [R, O] with ties, k
    auroc         targets, scores [R] with ties
    multi_label   targets, outputs [R, O], threshold; f1 of each label
    regression    targets, forecasts
    mase          train, period, targets, forecasts: by the formula of Hyndman & Koehler 2006
    pinball       targets, forecasts, quantile
    coverage      targets, lower, upper: by its definition
    perplexity    batches: mean loss in nats and number of rows of each, by `log_loss`; nats of all rows
    edits         pairs of texts of single letters as words; the sums over all pairs
"""

import json
from pathlib import Path

import jiwer
import numpy as np
from sklearn import metrics

FILE = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "metrics.json"
RNG = np.random.default_rng(0)


def plain(values):
    """Lists and numbers as JSON has them, NaN as null."""
    if isinstance(values, dict):
        return {key: plain(value) for key, value in values.items()}
    if isinstance(values, (list, tuple, np.ndarray)):
        return [plain(value) for value in values]
    if isinstance(values, (np.bool_, bool)):
        return bool(values)
    if isinstance(values, (np.integer, int)):
        return int(values)
    if isinstance(values, (np.floating, float)):
        return None if np.isnan(values) else float(values)
    return values


def rounded(*shape, digits=2):
    """Numbers around 0, so few digits long that some are equal."""
    return np.round(RNG.normal(size=shape), digits)


def averaged(targets, predicted, **how):
    return metrics.f1_score(targets, predicted, zero_division=np.nan, **how)


def confusion(classes, rows, used):
    """Of the classes only those below `used` occur."""
    targets = RNG.integers(0, used, rows)
    predicted = np.where(RNG.random(rows) < 0.5, targets, RNG.integers(0, max(used - 1, 1), rows))
    labels = range(classes)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        targets, predicted, labels=labels, zero_division=np.nan
    )
    return {
        "classes": classes,
        "targets": targets,
        "predicted": predicted,
        "counts": metrics.confusion_matrix(targets, predicted, labels=labels).ravel(),
        "accuracy": metrics.accuracy_score(targets, predicted),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "f1_micro": averaged(targets, predicted, labels=labels, average="micro"),
        "f1_macro": averaged(targets, predicted, labels=labels, average="macro"),
    }


def top_k(classes, rows, k, digits):
    targets, outputs = RNG.integers(0, classes, rows), rounded(rows, classes, digits=digits)
    value = metrics.top_k_accuracy_score(targets, outputs, k=k, labels=range(classes))
    return {"classes": classes, "k": k, "targets": targets, "outputs": outputs.ravel(), "value": value}


def auroc(rows, digits):
    targets = RNG.random(rows) < 0.4
    scores = np.round(RNG.normal(size=rows) + targets, digits)
    return {"targets": targets, "scores": scores, "value": metrics.roc_auc_score(targets, scores)}


def multi_label(labels, rows, threshold):
    outputs = rounded(rows, labels, digits=1) + threshold
    targets = (outputs + RNG.normal(size=(rows, labels)) > threshold + 0.3) & (np.arange(labels) > 0)
    outputs[:, 0] = threshold  # a label that no row has and none is predicted to have
    predicted = outputs > threshold
    return {
        "labels": labels,
        "threshold": threshold,
        "targets": targets.ravel(),
        "outputs": outputs.ravel(),
        "f1": averaged(targets, predicted, average=None),
        "f1_micro": averaged(targets, predicted, average="micro"),
        "f1_macro": averaged(targets, predicted, average="macro"),
    }


def regression(rows, offset):
    targets = rounded(rows, digits=3) + offset
    forecasts = targets + rounded(rows, digits=3) * 0.5 + 0.1
    return {
        "targets": targets,
        "forecasts": forecasts,
        "mae": metrics.mean_absolute_error(targets, forecasts),
        "rmse": metrics.root_mean_squared_error(targets, forecasts),
        "mean_error": np.mean(forecasts - targets),
        "r_squared": metrics.r2_score(targets, forecasts),
    }


def mase(rows, period):
    train, targets, forecasts = rounded(30), rounded(rows), rounded(rows)
    scale = np.mean(np.abs(train[period:] - train[:-period]))
    value = np.mean(np.abs(targets - forecasts) / scale)
    given = {"train": train, "period": period, "targets": targets, "forecasts": forecasts}
    return {**given, "scale": scale, "value": value}


def pinball(rows, quantile):
    targets, forecasts = rounded(rows), rounded(rows)
    value = metrics.mean_pinball_loss(targets, forecasts, alpha=quantile)
    return {"quantile": quantile, "targets": targets, "forecasts": forecasts, "value": value}


def coverage(rows):
    targets, lower, upper = rounded(rows, digits=1), rounded(rows, digits=1) - 0.5, rounded(rows, digits=1) + 0.5
    value = np.mean((lower <= targets) & (targets <= upper))
    return {"targets": targets, "lower": lower, "upper": upper, "value": value}


def perplexity(sizes, classes):
    probabilities = RNG.dirichlet(np.ones(classes), sum(sizes))
    targets = RNG.integers(0, classes, sum(sizes))
    ends = np.cumsum(sizes)
    loss = lambda rows: metrics.log_loss(targets[rows], probabilities[rows], labels=range(classes))
    parts = [(loss(slice(end - size, end)), size) for end, size in zip(ends, sizes)]
    return {"batches": parts, "nats": loss(slice(None))}


def edits(pairs, letters, longest):
    text = lambda: "".join(RNG.choice(list("abcdefgh")[:letters], RNG.integers(0, longest + 1)))
    references, hypotheses = [text() for _ in range(pairs)], [text() for _ in range(pairs)]
    words = lambda texts: [" ".join(text) for text in texts]
    said = jiwer.process_words(words(references), words(hypotheses))
    assert said.wer == jiwer.process_characters(references, hypotheses).cer
    return {
        "pairs": list(zip(references, hypotheses)),
        "hits": said.hits,
        "substitutions": said.substitutions,
        "deletions": said.deletions,
        "insertions": said.insertions,
        "value": said.wer,
    }


def main():
    cases = {
        "confusion": [confusion(4, 60, 4), confusion(6, 40, 4), confusion(2, 30, 2), confusion(1, 5, 1)],
        "top_k": [top_k(5, 40, 1, 0), top_k(5, 40, 3, 0), top_k(12, 30, 5, 1), top_k(3, 20, 3, 2)],
        "auroc": [auroc(50, 3), auroc(80, 1), auroc(80, 0)],
        "multi_label": [multi_label(4, 30, 0.0), multi_label(6, 20, 0.5)],
        "regression": [regression(40, 0.0), regression(40, 1000.0)],
        "mase": [mase(20, 1), mase(20, 12)],
        "pinball": [pinball(30, 0.1), pinball(30, 0.5), pinball(30, 0.9)],
        "coverage": [coverage(50)],
        "perplexity": [perplexity([5, 17, 1, 30], 7)],
        "edits": [edits(60, 2, 8), edits(40, 4, 20), edits(1, 2, 0), edits(6, 3, 90)]
        + [edits(1, letters, longest) for letters in (2, 3, 8) for longest in (6, 12, 30)],
    }
    lines = [f' "{name}": [\n  ' + ",\n  ".join(json.dumps(plain(case)) for case in list) + "\n ]"
             for name, list in cases.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
