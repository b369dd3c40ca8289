"""Reference numbers from PyTorch, in f64, of optimisers, groups, schedules and averaged weights.

Writes tests/fixtures/recipes/*.safetensors. The files in the repository were made with
torch 2.15.0 on a CPU. From the repository root:

    pip install -r scripts/requirements.txt
    python scripts/recipe_fixtures.py

Seeds are fixed: a rerun with the same versions on the same kind of machine gives the
same bytes.

trainings.safetensors: one small network, nn.RNN(3, 4) and nn.Linear(4, 2), trained for
200 steps by mean squared error at every step, four batches in turn, each from a state of
zeros. Metadata: `cases`, JSON, for each case its name and its recipe as this crate writes
it. Tensors, F64:

    x.<batch> [4,3,3]  y.<batch> [4,3,2]      inputs and targets, time-major
    start.<parameter>                         before the first step
    <case>/<step>.<parameter>                 after steps 1, 2, 10, 50 and 200
    <case>/<step>.average.<parameter>         their mean, where the recipe has one

schedules.safetensors: the rates of 300 steps. Metadata: `cases`, JSON, for each case its
name, the schedule as this crate writes it and the steps of warm-up. Tensors <case> [300],
F64, at a full rate of 0.3. And of the plateaus `plateaus`, JSON: for each its name and the
settings under PyTorch's names; tensors <name>.metric and <name>.rate [200], the rate after
each metric, from 0.3 on.

PyTorch has no Lion. `Lion` is Algorithm 2 of Chen et al. 2023, Symbolic Discovery of
Optimization Algorithms, with their decoupled weight decay.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "recipes"
STEPS, KEPT = 200, (1, 2, 10, 50, 200)
ADAM = {"beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8}


class Lion(torch.optim.Optimizer):
    def __init__(self, parameters, lr, betas, weight_decay):
        super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                moment = self.state[parameter].setdefault("moment", torch.zeros_like(parameter))
                update = (beta1 * moment + (1 - beta1) * parameter.grad).sign()
                parameter -= group["lr"] * (update + group["weight_decay"] * parameter)
                moment.mul_(beta2).add_(parameter.grad, alpha=1 - beta2)


def adam_like(cls, **more):
    def make(groups, lr, decay):
        return cls(groups, lr=lr, betas=(0.9, 0.99), eps=1e-8, weight_decay=decay, **more)

    return make


OPTIMIZERS = {
    "sgd": ({"sgd": {"momentum": 0.9}}, lambda g, lr, _: torch.optim.SGD(g, lr=lr, momentum=0.9)),
    "nesterov": (
        {"nesterov": {"momentum": 0.9}},
        lambda g, lr, _: torch.optim.SGD(g, lr=lr, momentum=0.9, nesterov=True),
    ),
    "adagrad": ({"adagrad": {"epsilon": 1e-10}}, lambda g, lr, _: torch.optim.Adagrad(g, lr=lr, eps=1e-10)),
    "rms_prop": (
        {"rms_prop": {"alpha": 0.99, "epsilon": 1e-8}},
        lambda g, lr, _: torch.optim.RMSprop(g, lr=lr, alpha=0.99, eps=1e-8),
    ),
    "adam": ({"adam": ADAM}, adam_like(torch.optim.AdamW)),
    "ams_grad": ({"ams_grad": ADAM}, adam_like(torch.optim.AdamW, amsgrad=True)),
    "r_adam": ({"r_adam": ADAM}, adam_like(torch.optim.RAdam, decoupled_weight_decay=True)),
    "lion": (
        {"lion": {"beta1": 0.9, "beta2": 0.99}},
        lambda g, lr, decay: Lion(g, lr=lr, betas=(0.9, 0.99), weight_decay=decay),
    ),
}
DECAYS = ("adam", "ams_grad", "r_adam", "lion")

GROUPS = [
    {"parameters": ["bias_*", "bias"], "rate": 0.25, "weight_decay": 0.0},
    {"parameters": ["weight"], "rate": 2.0},
    {"parameters": ["weight_hh*"], "rate": 0.5, "weight_decay": 0.25},
]
CLIPS = [
    {"parameters": ["weight_hh*", "bias"], "clip": {"norm": 0.05}},
    {"parameters": ["weight"], "rate": 0.5, "clip": {"value": 0.03}},
]
FREEZES = [{"parameters": ["weight_ih_l0", "bias"], "frozen": True}]

# The name, the optimiser, the rate, the norm that is clipped to, groups, schedule, warm-up, average.
CASES = [
    ("nesterov", "nesterov", 0.05, None, [], "constant", 0, None),
    ("adagrad", "adagrad", 0.1, None, [], "constant", 0, None),
    ("ams_grad", "ams_grad", 0.02, None, [], "constant", 0, None),
    ("r_adam", "r_adam", 0.02, None, [], "constant", 0, None),
    ("lion", "lion", 0.002, None, [], "constant", 0, None),
    ("lion_groups", "lion", 0.002, 0.5, GROUPS, "constant", 0, None),
    ("adam_groups", "adam", 0.02, 0.5, GROUPS, "constant", 0, None),
    ("ams_grad_groups", "ams_grad", 0.02, None, GROUPS, "constant", 0, None),
    ("r_adam_groups", "r_adam", 0.02, None, GROUPS, "constant", 0, None),
    ("rms_prop_groups", "rms_prop", 0.005, 0.5, GROUPS, "constant", 0, None),
    ("sgd_frozen", "sgd", 0.05, 0.2, FREEZES, "constant", 0, None),
    ("sgd_clips", "sgd", 0.05, 0.1, CLIPS, "constant", 0, None),
    ("r_adam_clips", "r_adam", 0.02, None, CLIPS, "constant", 0, None),
    ("adam_one_cycle", "adam", 0.05, None, [], "one_cycle", 0, None),
    ("nesterov_warm_up", "nesterov", 0.1, None, [], "exponential", 20, None),
    ("adam_ema", "adam", 0.02, None, [], "constant", 0, {"exponential": {"decay": 0.95}}),
    ("sgd_stochastic", "sgd", 0.05, None, [], "constant", 0, {"stochastic": {"from_step": 30, "every": 7}}),
]

ONE_CYCLE = {"total": 200, "rise": 0.3, "start": 0.04, "end": 4e-6, "anneal": "cosine"}


def one_cycle(settings):
    return lambda optimizer: lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=settings["total"],
        pct_start=settings["rise"],
        anneal_strategy={"cosine": "cos"}.get(settings["anneal"], settings["anneal"]),
        div_factor=1 / settings["start"],
        final_div_factor=settings["start"] / settings["end"],
        cycle_momentum=False,
    )


def line(total, start, end):
    settings = {"start_factor": start, "end_factor": end, "total_iters": total}
    return {"linear": {"total": total, "start": start, "end": end}}, lambda o: lr_scheduler.LinearLR(o, **settings)


# The name, the schedule as the crate writes it, and PyTorch's.
SCHEDULES = [
    ("constant", "constant", lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    ("one_cycle", {"one_cycle": ONE_CYCLE}, one_cycle(ONE_CYCLE)),
    (
        "one_cycle_linear",
        {"one_cycle": (cycle := ONE_CYCLE | {"total": 300, "rise": 0.21, "end": 0.01, "anneal": "linear"})},
        one_cycle(cycle),
    ),
    (
        "restarts",
        {"cosine_restarts": {"first": 17, "growth": 1, "floor": 0.0}},
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=17),
    ),
    (
        "longer_restarts",
        {"cosine_restarts": {"first": 10, "growth": 2, "floor": 0.1}},
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=10, T_mult=2, eta_min=0.03),
    ),
    ("linear", *line(150, 1.0, 0.1)),
    ("linear_up", *line(40, 0.25, 1.0)),
    (
        "polynomial",
        {"polynomial": {"total": 180, "power": 2.0}},
        lambda o: lr_scheduler.PolynomialLR(o, total_iters=180, power=2.0),
    ),
    (
        "polynomial_root",
        {"polynomial": {"total": 400, "power": 0.5}},
        lambda o: lr_scheduler.PolynomialLR(o, total_iters=400, power=0.5),
    ),
    ("exponential", {"exponential": {"factor": 0.98}}, lambda o: lr_scheduler.ExponentialLR(o, gamma=0.98)),
]

PLATEAUS = [
    ("plain", {"factor": 0.5, "patience": 3}),
    ("strict", {"factor": 0.7, "patience": 2, "threshold": 0.05, "cooldown": 6, "min_lr": 0.02}),
    ("maximum", {"factor": 0.5, "patience": 4, "threshold": 0.01, "cooldown": 1, "mode": "max"}),
]


def warmed(scheduler, optimizer, steps):
    """PyTorch's way to a rise in front of another schedule."""
    if steps == 0:
        return scheduler(optimizer)
    rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / steps, end_factor=1.0, total_iters=steps - 1)
    return lr_scheduler.SequentialLR(optimizer, [rise, scheduler(optimizer)], milestones=[steps])


def rates(scheduler, warm_up, steps=300):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = warmed(scheduler, optimizer, warm_up)
    found = []
    for step in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        # A cycle of PyTorch's ends with an error; here the last rate stays.
        if not isinstance(scheduler, lr_scheduler.OneCycleLR) or step + 1 < scheduler.total_steps:
            scheduler.step()
    return torch.tensor(found)


def matches(name, pattern):
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def groups_of(parameters, groups, rate, decay):
    """Groups as PyTorch takes them: a parameter is of the first that names it."""
    rest, made = dict(parameters), []
    for group in groups:
        own = [n for n in rest if any(matches(n, pattern) for pattern in group["parameters"])]
        assert own, group
        taken = [rest.pop(name) for name in own]
        if not group.get("frozen"):
            made.append(
                {
                    "params": taken,
                    "lr": rate * group.get("rate", 1.0),
                    "weight_decay": group.get("weight_decay", decay),
                    "clip": group.get("clip"),
                }
            )
    return made + [{"params": list(rest.values()), "clip": None}]


def clip_gradients(groups, clip):
    """Each group with a clip of its own by itself, and the others together."""
    rest = []
    for group in groups:
        own = group["clip"]
        if own is None:
            rest += group["params"]
        elif "norm" in own:
            nn.utils.clip_grad_norm_(group["params"], own["norm"])
        else:
            nn.utils.clip_grad_value_(group["params"], own["value"])
    return nn.utils.clip_grad_norm_(rest, clip) if clip else None


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.linear = nn.RNN(3, 4), nn.Linear(4, 2)

    def named(self):
        return dict(self.rnn.named_parameters()) | dict(self.linear.named_parameters())

    def forward(self, x):
        return self.linear(self.rnn(x)[0])


def f32(tensor):
    return tensor.float().double()


def train(case, start, batches):
    name, kind, rate, clip, groups, schedule, warm_up, average = case
    network = Network()
    for parameter_name, parameter in network.named().items():
        parameter.data = start[parameter_name].clone()
    decay = 0.0625 if kind in DECAYS else 0.0
    written, make = OPTIMIZERS[kind]
    groups_here = [g if kind in DECAYS else {k: v for k, v in g.items() if k != "weight_decay"} for g in groups]
    optimizer = make(groups_of(network.named(), groups_here, rate, decay), rate, decay)
    schedules = {key: (crate, torchs) for key, crate, torchs in SCHEDULES}
    scheduler = warmed(schedules[schedule][1], optimizer, warm_up)
    mean = None
    if average:
        decays = average.get("exponential", {}).get("decay")
        mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decays) if decays else None)
    tensors = {}
    for step in range(1, STEPS + 1):
        x, y = batches[(step - 1) % len(batches)]
        network.zero_grad()
        nn.functional.mse_loss(network(x), y).backward()
        norm = clip_gradients(optimizer.param_groups, clip)
        assert norm is None or step > 1 or norm > clip, f"{name}: nothing is clipped, {norm}"
        optimizer.step()
        if step < STEPS:
            scheduler.step()
        counts = average and average.get("stochastic", {"from_step": 1, "every": 1})
        if counts and step >= counts["from_step"] and (step - counts["from_step"]) % counts["every"] == 0:
            mean.update_parameters(network)
        if step in KEPT:
            tensors |= {f"{name}/{step}.{key}": p.detach().clone() for key, p in network.named().items()}
            if average and mean.n_averaged > 0:
                named = mean.module.named()
                tensors |= {f"{name}/{step}.average.{key}": p.detach().clone() for key, p in named.items()}
    more = {"weight_decay": decay} if kind in DECAYS else {}
    optimizer_here = {key: value | more for key, value in written.items()}
    recipe = {
        "loss": "mean_squared",
        "clip": {"norm": clip} if clip else "none",
        "optimizer": optimizer_here,
        "learning_rate": rate,
        "schedule": schedules[schedule][0],
        "warm_up": warm_up,
        "groups": groups_here,
        "dropout": {"outputs": 0.0, "inputs": 0.0, "hidden": 0.0, "seed": 0},
        "decay_scope": "all",
        "gradient_checkpointing": "none",
    }
    return tensors, {"name": name, "recipe": recipe | ({"average": average} if average else {})}


def plateau(settings, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, **settings)
    metrics, found = [], []
    for step in range(200):
        metric = 2.0 / (1 + step) + 0.3 * torch.rand(1, generator=generator).item() + 0.5
        metric = 3.0 - metric if settings.get("mode") == "max" else metric
        scheduler.step(metric)
        metrics.append(metric)
        found.append(optimizer.param_groups[0]["lr"])
    assert len(set(found)) > 3, settings
    return torch.tensor(metrics), torch.tensor(found)


def write(name, tensors, metadata):
    """One file. safetensors writes the metadata in random order: here it is sorted."""
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    data = save(tensors, metadata)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode().ljust(size)
    assert len(text) == size
    path = FOLDER / f"{name}.safetensors"
    path.write_bytes(data[:8] + text + data[8 + size :])
    print(f"{path.stat().st_size:7} {path.name}")


def main():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)

    generator = torch.Generator().manual_seed(7)
    start = {}
    for name, parameter in Network().named().items():
        start[name] = f32(nn.init.uniform_(torch.empty_like(parameter), -0.6, 0.6, generator=generator))
    draw = lambda width: f32(torch.randn(4, 3, width, generator=generator))
    batches = [(draw(3), draw(2)) for _ in range(4)]
    tensors, cases = {f"start.{name}": value for name, value in start.items()}, []
    for at, (x, y) in enumerate(batches):
        tensors |= {f"x.{at}": x, f"y.{at}": y}
    for case in CASES:
        own, described = train(case, start, batches)
        tensors |= own
        cases.append(described)
    write("trainings", tensors, {"cases": json.dumps(cases)})

    tensors, cases = {}, []
    for name, schedule, scheduler in SCHEDULES:
        for warm_up in (0, 12):
            # PyTorch's LinearLR rises to the full rate, wherever the schedule behind it begins; here it is to that.
            if warm_up and name in ("one_cycle", "one_cycle_linear", "linear_up"):
                continue
            tensors[f"{name}_{warm_up}"] = rates(scheduler, warm_up)
            cases.append({"name": f"{name}_{warm_up}", "schedule": schedule, "warm_up": warm_up})
    plateaus = []
    for seed, (name, settings) in enumerate(PLATEAUS):
        tensors[f"{name}.metric"], tensors[f"{name}.rate"] = plateau(settings, seed)
        plateaus.append({"name": name, "settings": settings})
    write("schedules", tensors, {"cases": json.dumps(cases), "plateaus": json.dumps(plateaus)})


if __name__ == "__main__":
    main()
