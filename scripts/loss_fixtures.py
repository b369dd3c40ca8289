"""Losses and their gradients from PyTorch, in f64, that the twins are tested against.

Writes tests/fixtures/losses.json. The file in the repository was made with torch 2.15.0 on a CPU. From the
repository root:

    pip install -r scripts/requirements.txt
    python scripts/loss_fixtures.py

Seeds are fixed: a rerun with the same version gives the same bytes.

A list of cases, each with

    name
    loss        as a checkpoint writes it
    shape       [R, O]
    y           [R, O] outputs
    targets     [R] class ids or [R, N] numbers
    weights     [R] or [R, N]
    divisor     what the weighed sum of the positions' losses is divided by: what PyTorch's reduction divides by
    value       the loss
    gradient    [R, O]

Where PyTorch has the loss it is PyTorch's; the others are differentiated by it from their formula: the focal loss
(Lin et al. 2017, equation 5), log-cosh, and the pinball loss (Koenker & Bassett 1978).
"""

import json
import pathlib

import torch
import torch.nn.functional as F
from torch import distributions as D

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

HERE = pathlib.Path(__file__).resolve().parent.parent
CASES = []


def draw(generator, *shape, bound=2.0):
    """Numbers that f32 holds, so that executors of either precision start alike."""
    return ((torch.rand(*shape, generator=generator) * 2 - 1) * bound).float().double()


def case(name, loss, y, targets, function, weights=None, divisor=None):
    """`function(y)` is the whole loss; the divisor is the number of rows unless something else is said."""
    y = y.clone().requires_grad_(True)
    value = function(y)
    value.backward()
    rows = y.shape[0]
    weights = torch.ones(rows) if weights is None else weights
    CASES.append(
        {
            "name": name,
            "loss": loss,
            "shape": list(y.shape),
            "y": y.detach().flatten().tolist(),
            "targets": targets.flatten().tolist(),
            "weights": weights.flatten().tolist(),
            "divisor": float(rows if divisor is None else divisor),
            "value": value.item(),
            "gradient": y.grad.flatten().tolist(),
        }
    )


def classes(g):
    rows, width = 6, 5
    y = draw(g, rows, width)
    ids = torch.randint(width, (rows,), generator=g)
    weights = draw(g, width, bound=0.75).abs() + 0.25
    case("cross_entropy", "cross_entropy", y, ids, lambda y: F.cross_entropy(y, ids))
    mask = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    ignored = torch.where(mask > 0, ids, torch.full_like(ids, -100))
    case(
        "ignored", {"cross_entropy_with": {"ignored": 9}}, y, ids,
        lambda y: F.cross_entropy(y, ignored), weights=mask, divisor=4,
    )
    for smoothing in [0.0, 0.1, 1.0]:
        loss = {"cross_entropy_with": {"smoothing": smoothing, "class_weights": weights.tolist()}}
        for reduction, divisor in [("mean", weights[ids].sum()), ("sum", 1.0)]:
            case(
                f"weights, smoothing {smoothing}, {reduction}", loss, y, ids,
                lambda y: F.cross_entropy(y, ids, weight=weights, label_smoothing=smoothing, reduction=reduction),
                divisor=divisor,
            )
    soft = torch.softmax(draw(g, rows, width), 1).float().double()
    for smoothing in [0.0, 0.2]:
        loss = {"smoothing": smoothing, "class_weights": weights.tolist(), "soft_targets": True}
        case(
            f"soft, smoothing {smoothing}", {"cross_entropy_with": loss}, y, soft,
            lambda y: F.cross_entropy(y, soft, weight=weights, label_smoothing=smoothing),
        )
    for focus in [0.5, 1.0, 2.0]:
        def focal(y):
            p = torch.softmax(y, 1)[torch.arange(rows), ids]
            return (weights[ids] * (1 - p) ** focus * -p.log()).mean()

        loss = {"focus": focus, "class_weights": weights.tolist()}
        case(f"focus {focus}", {"cross_entropy_with": loss}, y, ids, focal)
    one = draw(g, rows, 1)
    none = torch.zeros(rows, dtype=torch.long)
    case("one class", "cross_entropy", one, none, lambda y: F.cross_entropy(y, none))
    far = y.sign() * 1e4
    case("far", "cross_entropy", far, ids, lambda y: F.cross_entropy(y, ids))
    case(
        "far, smoothing", {"cross_entropy_with": {"smoothing": 0.1}}, far, ids,
        lambda y: F.cross_entropy(y, ids, label_smoothing=0.1),
    )


def numbers(g):
    rows, width = 5, 3
    y = draw(g, rows, width)
    targets = draw(g, rows, width)
    each = draw(g, rows, width).abs().float().double()
    each[1, 2] = each[3, 0] = 0.0
    far = y.sign() * 1e4
    for name, loss, function in [
        ("mean_squared", "mean_squared", F.mse_loss),
        ("mean_absolute", "mean_absolute", F.l1_loss),
        ("huber", {"huber": {"delta": 0.75}}, lambda y, t, reduction="mean": F.huber_loss(y, t, reduction, 0.75)),
        ("log_cosh", "log_cosh", lambda y, t, reduction="mean": log_cosh(y - t, reduction)),
    ]:
        case(name, loss, y, targets, lambda y: function(y, targets))
        weighed = lambda y: (function(y, targets, reduction="none") * each).sum() / width
        case(f"{name}, weighed", loss, y, targets, weighed, weights=each, divisor=1.0)
        case(f"{name}, far", loss, far, targets, lambda y: function(y, targets))
    labels = (draw(g, rows, width) > 0).double()
    positive = draw(g, width).abs() + 0.5
    logits = {"binary_cross_entropy": {"positive_weights": positive.tolist()}}
    for name, y_of in [("binary_cross_entropy", y), ("binary_cross_entropy, far", far)]:
        case(name, {"binary_cross_entropy": {}}, y_of, labels, lambda y: F.binary_cross_entropy_with_logits(y, labels))
        case(
            f"{name}, positive", logits, y_of, labels,
            lambda y: F.binary_cross_entropy_with_logits(y, labels, pos_weight=positive),
        )
    case(
        "binary_cross_entropy, weighed", logits, y, labels,
        lambda y: F.binary_cross_entropy_with_logits(y, labels, each, pos_weight=positive, reduction="sum") / width,
        weights=each, divisor=1.0,
    )
    levels = [0.1, 0.5, 0.9]
    for ordered in [False, True]:
        raw = draw(g, rows, 3 * width)

        def pinball(y):
            q = y.view(rows, 3, width)
            if ordered:
                q = torch.cat([q[:, :1], F.softplus(q[:, 1:])], 1).cumsum(1)
            above = targets[:, None] - q
            tau = torch.tensor(levels)[None, :, None]
            return torch.maximum(tau * above, (tau - 1) * above).mean()

        loss = {"quantiles": {"levels": levels, "ordered": ordered}}
        case(f"quantiles, ordered {ordered}", loss, raw, targets, pinball)
    floor = 0.01
    two, three = draw(g, rows, 2 * width), draw(g, rows, 3 * width)
    scale = lambda raw: floor + F.softplus(raw)
    case(
        "gaussian", {"gaussian": {"floor": floor}}, two, targets,
        lambda y: F.gaussian_nll_loss(y[:, :width], targets, scale(y[:, width:]) ** 2, full=True, eps=0.0),
    )
    case(
        "laplace", {"laplace": {"floor": floor}}, two, targets,
        lambda y: -D.Laplace(y[:, :width], scale(y[:, width:])).log_prob(targets).mean(),
    )
    student = lambda y: D.StudentT(2 + F.softplus(y[:, 2 * width:]), y[:, :width], scale(y[:, width:2 * width]))
    case("student_t", {"student_t": {"floor": floor}}, three, targets, lambda y: -student(y).log_prob(targets).mean())
    far_tail = three.clone()
    far_tail[:, 2 * width:] = 300.0
    case("student_t, nearly normal", {"student_t": {"floor": floor}}, far_tail, targets,
         lambda y: -student(y).log_prob(targets).mean())
    counts = torch.randint(12, (rows, width), generator=g).double()
    case("poisson", "poisson", y, counts, lambda y: F.poisson_nll_loss(y, counts))
    counts[0] = torch.tensor([0.0, 1.0, 400.0])

    def negative_binomial(y):
        mean, shape = scale(y[:, :width]), scale(y[:, width:])
        return -D.NegativeBinomial(shape, logits=(mean / shape).log()).log_prob(counts).mean()

    case("negative_binomial", {"negative_binomial": {"floor": floor}}, two, counts, negative_binomial)
    large = two * 20
    case("negative_binomial, wide", {"negative_binomial": {"floor": floor}}, large, counts, negative_binomial)
    components = 4
    raw = draw(g, rows, components * (1 + 2 * width))

    def mixture(y):
        logits, means, scales = y.split([components, components * width, components * width], 1)
        normal = D.Normal(means.view(rows, components, width), scale(scales).view(rows, components, width))
        return -D.MixtureSameFamily(D.Categorical(logits=logits), D.Independent(normal, 1)).log_prob(targets).mean()

    case("gaussian_mixture", {"gaussian_mixture": {"components": components, "floor": floor}}, raw, targets, mixture)
    case("gaussian_mixture, far", {"gaussian_mixture": {"components": components, "floor": floor}}, raw * 50, targets,
         mixture)


def log_cosh(error, reduction):
    each = error.abs() + F.softplus(-2 * error.abs()) - torch.log(torch.tensor(2.0))
    return each if reduction == "none" else each.mean()


def main():
    generator = torch.Generator().manual_seed(17)
    classes(generator)
    numbers(generator)
    path = HERE / "tests" / "fixtures" / "losses.json"
    path.write_text("[\n" + ",\n".join(json.dumps(case) for case in CASES) + "\n]\n")
    print(f"{len(CASES)} cases in {path}")


if __name__ == "__main__":
    main()
