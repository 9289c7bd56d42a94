"""Trains the support vector machines of tests/one_class.rs and writes them with inputs and scikit-learn's scores.

    pip install scikit-learn==1.9.1 skl2onnx==1.20.0
    python tests/data/one_class/make.py

Training has no random part. `NAME.onnx` is what skl2onnx makes of a pipeline, `x.npy` some wines (see README.md), `NAME.npy` the
decision function of scikit-learn for them. `standard.relevance.npy` is the relevance of their outlier scores, by the formula.
"""

from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import SVR, OneClassSVM

HERE = Path(__file__).parent

wines, classes = load_wine(return_X_y=True)
wines = wines.astype(np.float32)
known = wines[classes == 0]

pipelines = {
    "standard": make_pipeline(StandardScaler(), OneClassSVM(nu=0.2, gamma=0.05)),
    "min_max": make_pipeline(MinMaxScaler(), OneClassSVM(nu=0.2, gamma=1.0)),
    "raw": make_pipeline(OneClassSVM(nu=0.2, gamma=2e-5)),
    "norm_l1": make_pipeline(Normalizer("l1"), OneClassSVM(nu=0.2, gamma=200.0)),
    "norm_l2": make_pipeline(StandardScaler(), Normalizer("l2"), OneClassSVM(nu=0.2, gamma=1.0)),
    "norm_max": make_pipeline(StandardScaler(), Normalizer("max"), OneClassSVM(nu=0.2, gamma=0.3)),
    "linear": make_pipeline(StandardScaler(), OneClassSVM(nu=0.2, kernel="linear")),
    "regression": make_pipeline(StandardScaler(), SVR(kernel="linear", C=0.1)),
    # What is refused.
    "regression_rbf": make_pipeline(StandardScaler(), SVR(C=0.1, epsilon=0.5)),
    "polynomial": make_pipeline(StandardScaler(), OneClassSVM(nu=0.2, kernel="poly")),
    "sigmoid": make_pipeline(StandardScaler(), OneClassSVM(nu=0.2, kernel="sigmoid", gamma=0.01)),
}



def relevance(machine, x):
    """R_i = Σ_j (x_i − u_ij)² / (d_j + 1e-6) · p_j · o with d_j = ‖x − u_j‖² and p = softmax(log α − γ·d)."""
    alpha, gamma = machine.dual_coef_[0], machine._gamma
    squares = (x[:, None, :] - machine.support_vectors_[None, :, :]) ** 2
    d = squares.sum(axis=2)
    exponents = np.log(alpha) - gamma * d
    largest = exponents.max(axis=1, keepdims=True)
    total = np.exp(exponents - largest).sum(axis=1, keepdims=True)
    o = -(largest + np.log(total)) / gamma
    p = np.exp(exponents - largest) / total
    return np.einsum("njd,nj->nd", squares, p * o / (d + 1e-6))


# Three of each class, and one of impossible values: its kernel is 0 in float32.
x = np.concatenate([wines[classes == c][:3] for c in range(3)] + [10 * wines[:1]])
np.save(HERE / "x.npy", x)
for name, pipeline in pipelines.items():
    if name.startswith("regression"):
        pipeline.fit(wines, classes)
        scores = pipeline.predict(x)
    else:
        pipeline.fit(known)
        scores = pipeline.decision_function(x)
    print(name, len(pipeline[-1].support_), np.round(scores, 5))
    model = to_onnx(pipeline, wines[:1], target_opset={"": 17, "ai.onnx.ml": 1})
    # skl2onnx leaves both to chance.
    model.graph.name = name
    model.opset_import.sort(key=lambda opset: opset.domain)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())
    if name not in ("regression_rbf", "polynomial", "sigmoid"):
        np.save(HERE / f"{name}.npy", scores)
    if name == "standard":
        np.save(HERE / "standard.relevance.npy", relevance(pipeline[-1], pipeline[:-1].transform(x)))
