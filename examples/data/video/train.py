"""Trains video.onnx to say where a digit moves, and writes clips that it has not seen as clips.png and clips.csv.

    python train.py mnist10k.npz

A clip has 10 frames of 24×24. Two real MNIST digits, halved in size, stand in it; for four frames one of them moves by a
pixel a frame: left, right, up or down. The archive is that of ../digits/train.py, and the same fifth is held out. Some
minutes on one core; see ../requirements.txt.
"""
import csv
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

SEED, EPOCHS, CLIPS, BATCH = 1, 6, 12_000, 64
FRAMES, SIZE, DIGIT, MOVES = 10, 24, 10, 4
DIRECTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}  # rows, columns a frame
SHIPPED = 8


def halved(images):
    """28×28 to 10×10: without the margin of 4, the mean of each four pixels."""
    return images[:, 4:24, 4:24].reshape(-1, DIGIT, 2, DIGIT, 2).mean((2, 4))


def clip(digits, direction, rng):
    """A clip and its truth: the first frame that differs, and where the mover's top left corner is in each frame."""
    dy, dx = list(DIRECTIONS.values())[direction]
    room = SIZE - DIGIT
    while True:
        y, x = rng.integers(0, room + 1, 2)
        if 0 <= y + MOVES * dy <= room and 0 <= x + MOVES * dx <= room:
            break
    first = rng.integers(2, FRAMES - MOVES)
    moved = np.clip(np.arange(FRAMES) - first + 1, 0, MOVES)
    path = np.stack([y + dy * moved, x + dx * moved], 1)
    still = None
    while still is None:
        at = rng.integers(0, room + 1, 2)
        # The other digit keeps clear of the whole path; where there is no such place, another path is drawn.
        if (np.abs(path - at).max(1) >= DIGIT).all():
            still = at
        elif rng.random() < 0.02:
            return clip(digits, direction, rng)
    mover, other = digits[rng.integers(0, len(digits), 2)]
    frames = np.zeros((FRAMES, SIZE, SIZE), np.float32)
    for frame, (r, c) in zip(frames, path):
        frame[still[0] : still[0] + DIGIT, still[1] : still[1] + DIGIT] = other
        frame[r : r + DIGIT, c : c + DIGIT] = mover
    return frames, first, path


def clips(digits, count, rng):
    labels = rng.integers(0, len(DIRECTIONS), count)
    x = np.stack([clip(digits, label, rng)[0] for label in labels])
    return torch.tensor(x[:, None] / 255.0, dtype=torch.float32), torch.tensor(labels)


def main():
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    data = np.load(sys.argv[1])
    order = np.random.default_rng(SEED).permutation(len(data["X"]))
    digits = halved(data["X"].reshape(-1, 28, 28).astype(np.float32))
    held, kept = digits[order[: len(order) // 5]], digits[order[len(order) // 5 :]]
    test_x, test_y = clips(held, 2000, np.random.default_rng(SEED + 1))
    rng = np.random.default_rng(SEED + 2)

    # No padding in time, where a clip's end would look like a digit that vanishes; and the largest response over all of the
    # clip, so that a movement counts wherever and whenever it is.
    net = nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=(0, 1, 1)), nn.ReLU(), nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(8, 24, (1, 3, 3), padding=(0, 1, 1)), nn.ReLU(), nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(24, 32, 3, padding=(0, 1, 1)), nn.ReLU(), nn.MaxPool3d((FRAMES - 4, SIZE // 4, SIZE // 4)),
        nn.Flatten(), nn.Linear(32, len(DIRECTIONS)),
    )
    steps = EPOCHS * (CLIPS // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, steps)
    for epoch in range(EPOCHS):
        x, y = clips(kept, CLIPS, rng)
        for i in range(0, CLIPS - BATCH + 1, BATCH):
            loss = F.cross_entropy(net(x[i : i + BATCH]), y[i : i + BATCH])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            right = (torch.cat([net(part) for part in test_x.split(200)]).argmax(1) == test_y).float().mean().item()
        print(f"epoch {epoch + 1}: {right:.2%} of {len(test_x)} clips of held-out digits", flush=True)

    save(HERE / "video.onnx", net, [1, FRAMES, SIZE, SIZE], len(DIRECTIONS),
         "Where a digit moves: 10 grey frames of 24×24, black 0 to white 1, to logits for " + ", ".join(DIRECTIONS))
    # A row of frames for each clip, and what is true of it.
    rng, rows = np.random.default_rng(SEED + 3), []
    with open(HERE / "clips.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["direction", "first_moving_frame", *(f"{a}{t}" for t in range(FRAMES) for a in ("row", "column"))])
        for i in range(SHIPPED):
            frames, first, path = clip(held, i % len(DIRECTIONS), rng)
            rows.append(np.hstack(frames))
            table.writerow([list(DIRECTIONS)[i % len(DIRECTIONS)], first, *path.ravel()])
    Image.fromarray(np.vstack(rows).round().astype(np.uint8)).save(HERE / "clips.png", optimize=True)


main()
