"""Trains the two one-class support vector machines of examples/anomaly.rs and picks what it explains.

    pip install scikit-learn==1.9.1 skl2onnx==1.20.0
    python examples/data/anomaly/train.py mnist10k.npz

`mnist10k.npz` holds 10,000 digits of MNIST: X of 10000×784 bytes, Y their numbers (see README.md). Nothing here is random: samples
are taken in the order of their data set, and training has no random part. The same versions write the same files.
"""

import sys
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

HERE = Path(__file__).parent


def write(name, pipeline, samples):
    scores = pipeline.decision_function(samples)
    # Divided by their sum, the coefficients are weights: the outlier score is a distance then, never below 0. The score is divided
    # too, and keeps its sign.
    machine = pipeline[-1]
    total = machine.dual_coef_.sum()
    machine.dual_coef_, machine.intercept_ = machine.dual_coef_ / total, machine.intercept_ / total
    model = to_onnx(pipeline, samples[:1], target_opset={"": 17, "ai.onnx.ml": 1})
    # skl2onnx leaves both to chance.
    model.graph.name = name
    model.opset_import.sort(key=lambda opset: opset.domain)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())
    np.save(HERE / f"{name}.npy", samples)
    print(f"{name}: {len(machine.support_)} support vectors, scores {np.round(scores / total, 3)}")


# Tumours: what is known are benign ones. Of those left out and of the malignant ones five each are explained.
cancer = load_breast_cancer()
values = cancer.data.astype(np.float32)
benign, malignant = values[cancer.target == 1], values[cancer.target == 0]
tumours = make_pipeline(StandardScaler(), OneClassSVM(nu=0.1, gamma=1 / 30)).fit(benign[:250])
called = [np.mean(tumours.predict(some) < 0) for some in (benign[250:], malignant)]
print("called outliers: benign held out %.2f, malignant %.2f" % tuple(called))
write("tumours", tumours, np.concatenate([benign[250:255], malignant[:5]]))
(HERE / "tumours.txt").write_text("\n".join(cancer.feature_names) + "\n")

# Digits: what is known are threes. Explained are, of those that were left out, the least odd one, the same with a blot, and the
# oddest; then an eight and a five.
archive = np.load(sys.argv[1])
digits, labels = archive["X"].astype(np.float32) / 255, archive["Y"]
known, held_out, others = digits[labels == 3][:200], digits[labels == 3][200:], digits[labels != 3]
machine = make_pipeline(OneClassSVM(nu=0.1, gamma=0.02)).fit(known)
called = [np.mean(machine.predict(some) < 0) for some in (held_out, others)]
print("called outliers: threes held out %.2f, others %.2f" % tuple(called))
scores = machine.decision_function(held_out)
plain, oddest = held_out[scores.argmax()], held_out[scores.argmin()]
blotted = plain.reshape(28, 28).copy()
blotted[2:6, 2:6] = 1
first = [digits[labels == digit][0] for digit in (8, 5)]
write("threes", machine, np.stack([plain, blotted.ravel(), oddest, *first]))
