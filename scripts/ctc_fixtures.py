"""Losses of label sequences and their gradients from PyTorch, in f64, that the twins are tested against.

Writes tests/fixtures/ctc.json. The file in the repository was made with torch 2.15.0 on a CPU. From the repository
root:

    pip install -r scripts/requirements.txt
    python scripts/ctc_fixtures.py

Seeds are fixed: a rerun with the same version gives the same bytes.

A list of cases, each with

    name
    shape       [T, B, O]
    blank       the output that says no label
    y           [T, B, O] outputs
    labels      [B] lists
    lengths     [B] valid steps
    weights     [B]; 0 of a sequence that cannot say its labels, whose loss PyTorch sets to 0
    divisor     what the weighed sum of the sequences' losses is divided by
    value       the loss
    gradient    [T, B, O]
"""

import json
import pathlib

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

HERE = pathlib.Path(__file__).resolve().parent.parent
CASES = []


def needed(labels):
    return len(labels) + sum(a == b for a, b in zip(labels, labels[1:]))


def case(name, y, labels, lengths, blank=0, weights=None, mean=False):
    """The weighed sum over B, or PyTorch's mean."""
    steps, size, outputs = y.shape
    y = y.clone().requires_grad_(True)
    weights = torch.ones(size) if weights is None else torch.tensor(weights)
    flat = torch.tensor([label for one in labels for label in one], dtype=torch.long)
    counts = torch.tensor([len(one) for one in labels])
    arguments = (F.log_softmax(y, 2), flat, torch.tensor(lengths), counts, blank)
    if mean:
        value = F.ctc_loss(*arguments, reduction="mean", zero_infinity=True)
        weights = 1 / counts.clamp(min=1)
    else:
        value = (weights * F.ctc_loss(*arguments, reduction="none", zero_infinity=True)).sum() / size
    value.backward()
    told = [one if needed(one) <= length else [] for one, length in zip(labels, lengths)]
    weights = [
        weight if needed(one) <= length else 0.0 for weight, one, length in zip(weights.tolist(), labels, lengths)
    ]
    CASES.append(
        {
            "name": name,
            "shape": [steps, size, outputs],
            "blank": blank,
            "y": y.detach().flatten().tolist(),
            "labels": told,
            "lengths": lengths,
            "weights": weights,
            "divisor": size,
            "value": value.item(),
            "gradient": y.grad.flatten().tolist(),
        }
    )


def draw(generator, *shape, bound=2.0):
    """Numbers that f32 holds, so that executors of either precision start alike."""
    return ((torch.rand(*shape, generator=generator) * 2 - 1) * bound).float().double()


def drawn_labels(generator, lengths, outputs, blank):
    labels = []
    for length in lengths:
        count = int(torch.randint(0, length // 2 + 1, (), generator=generator))
        ids = torch.randint(0, outputs - 1, (count,), generator=generator).tolist()
        labels.append([id + (id >= blank) for id in ids])
    return labels


def main():
    g = torch.Generator().manual_seed(19)
    for steps, size, outputs, blank in [(1, 1, 2, 0), (5, 2, 3, 0), (12, 4, 5, 4), (20, 3, 7, 3), (40, 5, 4, 0)]:
        lengths = torch.randint(max(1, steps // 2), steps + 1, (size,), generator=g).tolist()
        labels = drawn_labels(g, lengths, outputs, blank)
        case(f"T={steps} B={size} O={outputs} blank {blank}", draw(g, steps, size, outputs), labels, lengths, blank)
    y = draw(g, 10, 3, 4)
    case("repeats", y, [[1, 1, 1, 1], [2, 2, 3, 3], [1, 2, 1, 2]], [10, 10, 10])
    case("no steps to spare", y, [[1, 1, 2, 2, 3, 3, 1], [1, 2, 3, 1, 2, 3, 1, 2, 3, 1], [3, 3, 3, 3]], [10, 10, 7])
    case("no labels", y, [[], [1], []], [10, 3, 1])
    case("infeasible", y, [[1, 2], [1] * 9, [2, 2]], [10, 10, 2])
    case("weighed", y, [[1, 2], [3], [2, 2]], [10, 8, 4], weights=[0.5, 2.0, 0.0])
    case("PyTorch's mean", y, [[1, 2, 3], [3], []], [10, 8, 4], mean=True)
    case("sure of it", draw(g, 10, 3, 4, bound=30.0), [[1, 2, 3], [3], [2, 2]], [10, 8, 4])
    case("one label of many", draw(g, 4, 2, 70), [[69], [1, 68]], [4, 3])
    path = HERE / "tests" / "fixtures" / "ctc.json"
    path.write_text("[\n" + ",\n".join(json.dumps(case) for case in CASES) + "\n]\n")
    print(f"{len(CASES)} cases in {path}")


if __name__ == "__main__":
    main()
