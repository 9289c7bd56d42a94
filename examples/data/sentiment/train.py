"""Trains the sentiment network of the text example: a bidirectional LSTM that says whether a film review is a good one.

    pip install torch numpy onnx onnxruntime
    python train.py movieReviewSnippets_GroundTruth.txt

The file is that of the source archive of vaderSentiment 3.3.2 (MIT; `pip download --no-binary :all: vaderSentiment`), in
`additional_resources/hutto_ICWSM_2014.tar.gz`: 10,604 snippets of film reviews, each with the mean of 20 people's ratings
from -4 to 4. The class is the rating's sign. A tenth is held out for the accuracy that is stated, another tenth says when to
stop; which ones is drawn with a fixed seed.

Words are cut as relprop cuts them (`tokens = "words"`), lower-cased; those that the training part holds at least `RARE` times
have numbers of their own, the others share `<unk>`. Sentences are filled up with `<pad>` on the left, whose embedding is 0, so
that it gets no relevance. Written beside this file: sentiment.onnx (weights as float16), sentiment.toml, words.txt and
reviews.txt, a hundred of the held-out snippets with their ratings.
"""

import random
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

HERE = Path(__file__).parent
SEED = 1
RARE = 3
LENGTH = 40
EMBEDDING = 24
HIDDEN = 24
EPOCHS = 20
SHIPPED = 100
WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


def words(text):
    return [word.lower() for word in WORD.findall(text)]


class Sentiment(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, EMBEDDING, padding_idx=0)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, batch_first=True, bidirectional=True)
        self.dense = nn.Linear(2 * HIDDEN, 2)
        self.drop = nn.Dropout(0.5)

    def forward(self, ids):
        _, (h, _) = self.lstm(self.drop(self.embedding(ids)))
        return self.dense(self.drop(torch.cat([h[0], h[1]], dim=1)))


def batches(ids, classes, size, order):
    for at in range(0, len(order), size):
        picked = order[at : at + size]
        yield ids[picked], classes[picked]


def accuracy(model, ids, classes):
    model.eval()
    with torch.no_grad():
        return (model(ids).argmax(1) == classes).float().mean().item()


def train(ids, classes, checked_ids, checked_classes, vocabulary):
    model = Sentiment(vocabulary)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-5)
    best, kept = 0.0, None
    for epoch in range(EPOCHS):
        model.train()
        for x, y in batches(ids, classes, 64, torch.randperm(len(ids))):
            # A word in ten is hidden, so that <unk> means something.
            hidden = (torch.rand(x.shape) < 0.1) & (x > 0)
            loss = nn.functional.cross_entropy(model(torch.where(hidden, 1, x)), y)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        found = accuracy(model, checked_ids, checked_classes)
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, {100 * found:.1f} % of the checking part", flush=True)
        if found > best:
            best, kept = found, {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(kept)
    return model


def onnx_gates(matrix):
    """torch's order of gates i, f, g, o as ONNX has them: i, o, f, g."""
    i, f, g, o = np.split(matrix, 4)
    return np.concatenate([i, o, f, g])


def export(model, path):
    """The graph by hand: plain operators alone, weights as float16 that a Cast widens."""
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    both = lambda name: np.stack([onnx_gates(state[f"lstm.{name}_l0{side}"]) for side in ("", "_reverse")])
    weights = {
        "embedding": state["embedding.weight"],
        "w": both("weight_ih"),
        "r": both("weight_hh"),
        "b": np.concatenate([both("bias_ih"), both("bias_hh")], axis=1),
        "dense_w": state["dense.weight"],
        "dense_b": state["dense.bias"],
    }
    nodes = [helper.make_node("Cast", [f"{name}_16"], [name], to=TensorProto.FLOAT) for name in weights]
    nodes += [
        helper.make_node("Gather", ["embedding", "ids"], ["embedded"], name="embedding", axis=0),
        helper.make_node("Transpose", ["embedded"], ["steps"], name="steps", perm=[1, 0, 2]),
        helper.make_node(
            "LSTM", ["steps", "w", "r", "b"], ["", "last"], name="lstm", hidden_size=HIDDEN, direction="bidirectional"
        ),
        helper.make_node("Transpose", ["last"], ["sides"], name="sides", perm=[1, 0, 2]),
        helper.make_node("Reshape", ["sides", "flat"], ["state"], name="state"),
        helper.make_node("Gemm", ["state", "dense_w", "dense_b"], ["logits"], name="dense", transB=1),
    ]
    constants = [numpy_helper.from_array(v.astype(np.float16), f"{name}_16") for name, v in weights.items()]
    constants.append(numpy_helper.from_array(np.array([-1, 2 * HIDDEN]), "flat"))
    graph = helper.make_graph(
        nodes,
        "sentiment",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", LENGTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def main():
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    lines = Path(sys.argv[1]).read_text(encoding="utf-8", errors="replace").splitlines()
    snippets = [(float(rating), text) for _, rating, text in (line.split("\t", 2) for line in lines)]
    snippets = [(rating, text) for rating, text in snippets if rating != 0.0]
    random.shuffle(snippets)
    part = len(snippets) // 10
    held, checked, trained = snippets[:part], snippets[part : 2 * part], snippets[2 * part :]

    counts = Counter(word for _, text in trained for word in words(text))
    known = sorted((w for w, n in counts.items() if n >= RARE), key=lambda w: (-counts[w], w))
    vocabulary = ["<pad>", "<unk>"] + known
    number = {word: i for i, word in enumerate(vocabulary)}

    def encode(part):
        ids = torch.zeros(len(part), LENGTH, dtype=torch.int64)
        for row, (_, text) in enumerate(part):
            found = [number.get(word, 1) for word in words(text)][:LENGTH]
            ids[row, LENGTH - len(found) :] = torch.tensor(found)
        return ids, torch.tensor([int(rating > 0) for rating, _ in part])

    model = train(*encode(trained), *encode(checked), len(vocabulary))
    model.eval()
    path = HERE / "sentiment.onnx"
    export(model, path)
    (HERE / "words.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    (HERE / "reviews.txt").write_text("".join(f"{r:+.2f}\t{t.strip()}\n" for r, t in held[:SHIPPED]), encoding="utf-8")

    ids, classes = encode(held)
    logits = onnxruntime.InferenceSession(path).run(None, {"ids": ids.numpy()})[0]
    found = float((logits.argmax(1) == classes.numpy()).mean())
    strong = torch.tensor([abs(rating) >= 1.5 for rating, _ in held])
    clear = float((logits.argmax(1) == classes.numpy())[strong.numpy()].mean())
    print(
        f"{len(trained)} snippets trained on, {len(vocabulary)} words, {path.stat().st_size} bytes; "
        f"{100 * found:.1f} % of {len(held)} held out, {100 * clear:.1f} % of the {int(strong.sum())} rated beyond ±1.5"
    )


if __name__ == "__main__":
    main()
