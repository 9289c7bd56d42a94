#!/usr/bin/env python3
"""Times pixel flipping of one picture by relprop and by Quantus, on the same network and map. See README.md."""

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

from compare import export, network

SIZE = 224
# Values in a step: 96 steps. Quantus takes divisors of the number of positions alone.
IN_STEP = 1568


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--test", help="relprop's test executable flipping_speed; its figures are printed beside")
    return parser.parse_args()


class Session:
    """ONNX Runtime in the place of the PyTorch model that Quantus asks for."""

    def __init__(self, path, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, x):
        import torch

        return torch.from_numpy(self.session.run(None, {"input": x.detach().numpy()})[0])


def wrapped(session):
    import torch

    class Module(torch.nn.Module):
        def forward(self, x):
            return session(x)

    return Module().eval()


def main():
    import numpy
    import quantus
    import torch
    from quantus.functions.perturb_func import noisy_linear_imputation

    args = arguments()
    torch.set_num_threads(args.threads)
    model = network("squeezenet")
    x = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    # Quantus flips each channel of a position alone.
    a = numpy.random.default_rng(2).normal(size=x.shape).astype(numpy.float32)
    y = model(x).argmax(dim=1).numpy()
    common = {"abs": False, "normalise": False, "disable_warnings": True, "display_progressbar": False}
    flips = quantus.PixelFlipping(features_in_step=IN_STEP, perturb_baseline=0.0, **common)
    falling = numpy.argsort(-a.sum(axis=(0, 1)).reshape(-1))

    def pixel_flipping(given):
        flips(model=given, x_batch=x.numpy(), y_batch=y, a_batch=a, device="cpu", softmax=True)

    def road(given):
        """What Quantus's ROAD does; itself it takes pictures of one channel alone."""
        counts = [SIZE * SIZE * percent // 100 for percent in range(10, 100, 10)]
        filled = [noisy_linear_imputation(x[0].numpy(), falling[:count]) for count in counts]
        with torch.inference_mode():
            given(torch.tensor(numpy.array(filled), dtype=torch.float32))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "squeezenet.onnx"
        export(model, x, path)
        models = {"PyTorch": model, "ONNX Runtime": wrapped(Session(path, args.threads))}
        best = {}
        for _ in range(args.rounds):
            for name, given in models.items():
                for metric, run in [("pixel flipping", pixel_flipping), ("ROAD", road)]:
                    start = time.perf_counter()
                    run(given)
                    took = 1e3 * (time.perf_counter() - start)
                    best[metric, name] = min(took, best.get((metric, name), took))
            if args.test:
                command = [args.test, "--ignored", "--nocapture"]
                environment = {**os.environ, "RAYON_NUM_THREADS": str(args.threads)}
                found = subprocess.run(command, capture_output=True, text=True, env=environment)
                print("\n".join(line for line in found.stdout.splitlines() if " ms" in line))
    for (metric, name), took in best.items():
        print(f"Quantus {quantus.__version__}, {metric}, {name}: {took:.0f} ms")


if __name__ == "__main__":
    main()
