"""Writes a small network, inputs, maps, and what Quantus says of them, for tests/flipping.rs.

    pip install torch onnx quantus numpy
    python tests/data/evaluate/make.py
"""

import io
from pathlib import Path

import numpy as np
import quantus
import torch
from quantus.functions.perturb_func import noisy_linear_imputation
from torch import nn

HERE = Path(__file__).parent
SAMPLES, SIDE = 3, 8
torch.manual_seed(4)
net = nn.Sequential(
    nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ELU(), nn.Flatten(), nn.Linear(32, 4)
).eval()
# Outputs far apart, so that the best class changes as values go.
net[-1].weight.data *= 4
# One channel: Quantus flips channels one by one, relprop flips all channels of a position.
x = torch.randn(SAMPLES, 1, SIDE, SIDE)
buffer = io.BytesIO()
torch.onnx.export(net, (x,), buffer, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "n"}})
(HERE / "flipping.onnx").write_bytes(buffer.getvalue())

classes = net(x).argmax(dim=1).numpy()
x = x.numpy()
maps = np.random.default_rng(5).normal(size=x.shape).astype(np.float32)
common = {"perturb_baseline": 0.0, "abs": False, "normalise": False, "disable_warnings": True, "display_progressbar": False}


def run(metric, **more):
    return np.array(metric(model=net, x_batch=x, y_batch=classes, a_batch=maps, device="cpu", softmax=True, **more))


def road(order):
    """Accuracy over the percentages for each sample, and the probability at each of them."""
    percentages = list(range(10, 100, 10))
    accuracy, curves = [], []
    for i, sample in enumerate(x):
        metric = quantus.ROAD(
            noise=0.0, percentages=percentages, abs=False, normalise=False, disable_warnings=True, display_progressbar=False
        )
        given = order * maps[i : i + 1]
        found = metric(
            model=net, x_batch=x[i : i + 1], y_batch=classes[i : i + 1], a_batch=given, device="cpu", softmax=True
        )
        accuracy.append(np.mean(list(found.values())))
        falling = np.argsort(-given.reshape(-1))
        filled = [noisy_linear_imputation(sample, falling[: SIDE * SIDE * p // 100], noise=0.0) for p in percentages]
        scores = torch.softmax(net(torch.tensor(np.array(filled), dtype=torch.float32)), dim=1)
        curves.append(scores[:, classes[i]].detach().numpy())
    return np.array(accuracy), np.array(curves)


np.save(HERE / "flipping-x.npy", x)
np.save(HERE / "flipping-maps.npy", maps)
np.save(HERE / "flipping-classes.npy", classes.astype(np.float64))
np.save(HERE / "pixel-flipping.npy", run(quantus.PixelFlipping(features_in_step=4, **common)))
for name, order in [("morf", "morf"), ("lrf", "lerf")]:
    metric = quantus.RegionPerturbation(patch_size=2, regions_evaluation=16, order=order, **common)
    np.save(HERE / f"region-perturbation-{name}.npy", run(metric))
for name, order in [("morf", 1), ("lrf", -1)]:
    accuracy, curves = road(order)
    np.save(HERE / f"road-{name}.npy", accuracy)
    np.save(HERE / f"road-{name}-curves.npy", curves)
