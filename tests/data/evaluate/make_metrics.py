"""Writes what Quantus, Captum and scikit-image say of the maps of a small network, for tests/metrics.rs.

    pip install torch onnx quantus captum scikit-image numpy
    python tests/data/evaluate/make_metrics.py

The network and the samples are those of tests/data/methods. Where a metric draws random numbers, the draws are relprop's: `Random`
is src/random.rs.
"""

import json
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import quantus
import torch
from captum.attr import Saliency
from captum.metrics import infidelity, sensitivity_max
from skimage.metrics import structural_similarity
from torch import nn

HERE = Path(__file__).parent
METHODS = HERE.parent / "methods"
MASK = (1 << 64) - 1


class Random:
    """SplitMix64."""

    def __init__(self, seed, stream):
        self.state = (seed * 0x100000001 + stream) & MASK
        self.state = self.bits()

    def bits(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def uniform(self):
        return (self.bits() >> 11) / (1 << 53)

    def normal(self):
        radius, turn = 1.0 - self.uniform(), self.uniform()
        return np.sqrt(-2.0 * np.log(radius)) * np.cos(2 * np.pi * turn)

    def below(self, n):
        return (self.bits() * n) >> 64

    def order(self, n):
        order = list(range(n))
        for last in range(n - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order


def sums_of_four(seed, count):
    """`random::normal` with deviation 1, for fewer numbers than a stretch has."""
    random = Random(seed, 0)
    factor = np.float32(1.0 / np.sqrt((2.0**32 - 1) / 3.0))
    bits = [random.bits() for _ in range(count)]
    sums = np.array([sum((b >> (16 * i)) & 0xFFFF for i in range(4)) for b in bits], np.float32)
    return (sums - np.float32(131070.0)) * factor


class Drawn:
    """Layers whose parameters are replaced by normal numbers of their own mean and deviation."""

    number = None

    def reset_parameters(self):
        if self.number is None:
            return super().reset_parameters()
        for i, constant in enumerate([self.weight, self.bias]):
            old = constant.detach().double().numpy()
            draw = Random(SEED, (3 << 60) + 256 * self.number + i).bits()
            new = old.mean() + old.std() * sums_of_four(draw, old.size).astype(np.float64).reshape(old.shape)
            constant.data = torch.tensor(new.astype(np.float32)).to(constant.dtype)


class Conv(Drawn, nn.Conv2d):
    pass


class Linear(Drawn, nn.Linear):
    pass


SEED = 3
SUBSET, RUNS, SIDE, RADIUS = 12, 40, 3, 0.05
net = nn.Sequential(
    Conv(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), Conv(4, 6, 3), nn.ELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Linear(6, 3)
).eval()
stored = onnx.load(METHODS / "network.onnx").graph.initializer
net.load_state_dict({t.name: torch.tensor(onnx.numpy_helper.to_array(t)) for t in stored})
for number, at in enumerate([0, 3, 7]):
    net[at].number = number + 1
x = np.load(METHODS / "x.npy")
classes = np.array([1, 2])
samples, channels, height, width = x.shape
positions = height * width


def gradient_times_input(model, inputs, targets, **_):
    model = model.double()
    inputs = torch.tensor(np.asarray(inputs), dtype=torch.float64)
    found = (Saliency(model).attribute(inputs, torch.tensor(targets), abs=False) * inputs).numpy()
    model.float()
    return found


maps = gradient_times_input(net, x, classes).astype(np.float32)
masks = np.zeros((samples, 1, height, width), np.float32)
masks[0, 0, 2:5, 1:6] = 1
masks[1, 0, :4, 2:6] = 1
common = {"normalise": False, "disable_warnings": True, "display_progressbar": False}


def quantus_of(metric, model=net, **more):
    given = {"x_batch": x.copy(), "y_batch": classes, "a_batch": maps.copy(), "device": "cpu", "softmax": False, **more}
    return metric(model=model, **given)


def values_of(chosen):
    """The indices of all channels' values at positions."""
    return np.concatenate([np.array(chosen) + channel * positions for channel in range(channels)])


def listed(values):
    return np.asarray(values, np.float64).tolist()


found = {}
subsets = [Random(SEED, SUBSET << 32 | run).order(positions)[:SUBSET] for run in range(RUNS)]
for softmax in [False, True]:
    # Quantus draws for each sample in turn.
    draws = iter([values_of(s) for s in subsets for _ in range(samples)])
    metric = quantus.FaithfulnessCorrelation(
        nr_runs=RUNS, subset_size=SUBSET * channels, perturb_baseline=0.25, abs=False, return_aggregate=False, **common
    )
    with mock.patch("numpy.random.choice", lambda *_, **__: next(draws)):
        name = "faithfulness-correlation" + ("-softmax" if softmax else "")
        found[name] = listed(quantus_of(metric, softmax=softmax))

# Another definition than the paper's: values in falling order, one metric for all samples.
steps = 16
metric = quantus.SensitivityN(
    features_in_step=steps, n_max_percentage=2.0, perturb_baseline=0.0, abs=False, return_aggregate=False, **common
)
# A third sample, for the correlation of two is 1 or -1.
three = {"x_batch": np.concatenate([x, x[:1, :, ::-1]]), "y_batch": np.array([1, 2, 0])}
three["a_batch"] = gradient_times_input(net, three["x_batch"], three["y_batch"]).astype(np.float32)
found["sensitivity-n-of-quantus"] = listed(quantus_of(metric, **three))

# Squares one after the other, each left as it is.
metric = quantus.Infidelity(perturb_patch_sizes=[4], n_perturb_samples=1, perturb_baseline=0.0, abs=False, **common)
found["infidelity-of-quantus"] = listed(quantus_of(metric))

precise = torch.tensor(x, dtype=torch.float64)
size = np.ptp(precise.numpy(), axis=(1, 2, 3), keepdims=True)


def squares(inputs):
    """For each sample of each run: I as a share of x, and x with a square of zeros."""
    shares = np.zeros((samples, RUNS, channels, height, width))
    for run in range(RUNS):
        random = Random(SEED, 1 << 60 | run)
        top, left = random.below(height - SIDE + 1), random.below(width - SIDE + 1)
        shares[:, run, :, top : top + SIDE, left : left + SIDE] = 1
    shares = torch.tensor(shares.reshape(inputs.shape))
    return shares, inputs * (1 - shares)


def noise(inputs):
    """I, and x after it: 0.5 and noise."""
    draws = []
    for run in range(RUNS):
        random = Random(SEED, 1 << 60 | run)
        draws.append([random.normal() for _ in range(channels * positions)])
    draws = np.array(draws).reshape(1, RUNS, channels, height, width)
    changed = torch.tensor((0.5 + 0.2 * size[:, None] * draws).reshape(inputs.shape))
    return inputs - changed, changed


net.double()
slopes = Saliency(net).attribute(precise, torch.tensor(classes), abs=False)
for name, change, given in [("square", squares, slopes * precise), ("noise", noise, slopes)]:
    for scaled in [False, True]:
        value = infidelity(
            net, change, precise, given, target=torch.tensor(classes), n_perturb_samples=RUNS, normalize=scaled
        )
        found[f"infidelity-{name}" + ("-scaled" if scaled else "")] = listed(value)


def steps_of(run):
    random = Random(SEED, 2 << 60 | run)
    return np.array([2 * random.uniform() - 1 for _ in range(channels * positions)]).reshape(1, channels, height, width)


def moved(inputs):
    """Captum repeats each sample for all runs."""
    inputs = inputs[0] if isinstance(inputs, tuple) else inputs
    steps = np.concatenate([steps_of(run) for run in range(RUNS)])
    by = RADIUS * size[:, None] * steps[None]
    return (inputs + torch.tensor(by.reshape(inputs.shape)),)


def explained(inputs, target):
    inputs = inputs[0] if isinstance(inputs, tuple) else inputs
    return (Saliency(net).attribute(inputs, target, abs=False) * inputs,)


found["max-sensitivity"] = listed(
    sensitivity_max(explained, precise, moved, n_perturb_samples=RUNS, target=torch.tensor(classes))
)
net.float()
runs = iter(range(RUNS))
metric = quantus.MaxSensitivity(
    nr_samples=RUNS,
    perturb_func=lambda arr, **_: arr + RADIUS * size.reshape(-1, 1) * steps_of(next(runs)).reshape(1, -1),
    abs=False,
    **common,
)
found["max-sensitivity-of-quantus"] = listed(quantus_of(metric, explain_func=gradient_times_input))

pooled = maps.sum(axis=1, keepdims=True)
for name, metric, given in [
    ("pointing-game", quantus.PointingGame, pooled),
    ("relevance-mass", quantus.RelevanceMassAccuracy, np.maximum(pooled, 0)),
    ("relevance-rank", quantus.RelevanceRankAccuracy, pooled),
]:
    found[name] = listed(quantus_of(metric(abs=False, **common), a_batch=given.copy(), s_batch=masks))
usual = {"abs": True, "normalise": True, "disable_warnings": True, "display_progressbar": False, "return_aggregate": False}
found["sparseness"] = listed(quantus_of(quantus.Sparseness(**usual)))
found["complexity"] = listed(quantus_of(quantus.Complexity(**usual)))

# After each layer from the output down.
usual.pop("return_aggregate")
for order, name in [("top_down", "cascading"), ("independent", "independent"), ("bottom_up", "bottom-up")]:
    found[f"model-randomisation-{name}"] = [
        listed(scores)
        for scores in quantus_of(quantus.MPRT(layer_order=order, **usual), explain_func=gradient_times_input).values()
    ]
random_net = None
for _, random_net in quantus.helpers.model.pytorch_model.PyTorchModel(net).get_random_layer_generator("top_down"):
    pass
after = gradient_times_input(random_net, x, classes)
entropy = quantus.functions.complexity_func.discrete_entropy
found["entropy-rise"] = [
    float((entropy(b, b, n_bins=100) - entropy(a, a, n_bins=100)) / entropy(a, a, n_bins=100)) for a, b in zip(maps, after)
]
scale = lambda m: m / np.abs(m).max()
ssim = lambda a, b: structural_similarity(a, b, data_range=float(max(a.max(), b.max()) - min(a.min(), b.min())))
found["ssim"] = [float(ssim(scale(a), scale(b))) for a, b in zip(maps.sum(axis=1).astype(np.float64), after.sum(axis=1))]

metric = quantus.RandomLogit(
    similarity_func=quantus.functions.similarity_func.correlation_spearman, num_classes=3, abs=False, **common
)
other = Random(SEED, 4 << 60).order(2)[0]
with mock.patch("numpy.random.randint", lambda *_: np.full(samples, other)):
    found["random-logit"] = listed(quantus_of(metric, explain_func=gradient_times_input))

lines = [f" {json.dumps(name)}: {json.dumps(values)}" for name, values in found.items()]
(HERE / "metrics.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
