"""Writes two small networks, an input, and what Captum says of them, for tests/methods.rs, tests/cam.rs and tests/perturbation.rs;
superpixels of the sample photo by scikit-image; and prints what the lime package makes of a few selections, for
src/methods/perturb/tests.rs.

    pip install torch onnx captum numpy scikit-image lime pillow
    python tests/data/methods/make.py
"""

import io
from pathlib import Path

import numpy as np
import torch
from captum.attr import (
    Deconvolution, GuidedBackprop, GuidedGradCam, InputXGradient, IntegratedGradients, LayerAttribution, LayerGradCam, Occlusion,
    Saliency,
)
from lime.lime_base import LimeBase
from PIL import Image
from skimage.segmentation import slic
from sklearn.metrics import pairwise_distances
from torch import nn

HERE = Path(__file__).parent
torch.manual_seed(1)
net = nn.Sequential(
    nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    nn.Linear(6, 3),
).eval()
x = torch.randn(2, 2, 8, 8)


def export(net, file):
    buffer = io.BytesIO()
    torch.onnx.export(net, (x,), buffer, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "n"}})
    (HERE / file).write_bytes(buffer.getvalue())


torch.manual_seed(2)
# Captum's hooks on ReLUs are what makes guided backpropagation and deconvolution of gradients.
relu = nn.Sequential(
    nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Flatten(),
    nn.Linear(96, 8), nn.ReLU(), nn.Linear(8, 3),
).eval()
export(net, "network.onnx")
export(relu, "relu.onnx")

net, x = net.double(), x.double()
target = 1
maps = {
    "gradient": Saliency(net).attribute(x, target, abs=False),
    "absolute-gradient": Saliency(net).attribute(x, target),
    "gradient-times-input": InputXGradient(net).attribute(x, target),
    "integrated-gradients": IntegratedGradients(net, multiply_by_inputs=True).attribute(
        x, torch.full_like(x, 0.5), target, method="riemann_right", n_steps=20
    ),
    # Windows of all channels; the last of each axis is cut off.
    "occlusion": Occlusion(net).attribute(x, (2, 3, 3), (2, 2, 2), baselines=0.5, target=target),
    # Windows that end with the picture.
    "occlusion-fitting": Occlusion(net).attribute(x, (2, 5, 5), (2, 3, 3), baselines=0.0, target=target),
}
np.save(HERE / "x.npy", x.numpy().astype(np.float32))
for name, values in maps.items():
    np.save(HERE / f"{name}.npy", values.detach().numpy())

relu = relu.double()


def cam(layer):
    """Grad-CAM of a layer at the input's size."""
    coarse = LayerGradCam(relu, layer).attribute(x, target, relu_attributions=True)
    return LayerAttribution.interpolate(coarse, x.shape[2:], interpolate_mode="bilinear")


maps = {
    "guided-backprop": GuidedBackprop(relu).attribute(x, target),
    "deconvnet": Deconvolution(relu).attribute(x, target),
    "grad-cam": cam(relu[4]),
    # Before its activation.
    "grad-cam-first": cam(relu[0]),
    "guided-grad-cam": GuidedGradCam(relu, relu[4]).attribute(x, target, interpolate_mode="bilinear"),
}
for name, values in maps.items():
    np.save(HERE / f"relu.{name}.npy", values.detach().numpy())

photo = np.asarray(Image.open(HERE / "../../../src/assets/chelsea.png").convert("RGB")).astype(np.float64)
photo = (photo - photo.min()) / (photo.max() - photo.min())
segments = slic(photo, n_segments=50, compactness=10, max_num_iter=10, sigma=0, start_label=0)
Image.fromarray(segments.astype(np.uint8)).save(HERE / "slic.png", optimize=True)

random = np.random.default_rng(3)
selections = random.integers(0, 2, (12, 5))
selections[0] = 1
selections[1] = 0
scores = np.round(random.normal(size=12), 3)
distances = pairwise_distances(selections, selections[:1], metric="cosine").ravel()
base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)))
intercept, coefficients, _, _ = base.explain_instance_with_data(selections, scores[:, None], distances, 0, 100)
print(["".join(map(str, row)) for row in selections], list(scores))
print([float(value) for _, value in sorted(coefficients)])
