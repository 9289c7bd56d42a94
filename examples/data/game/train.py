"""Solves Connect Four on a board of 5×5, and trains game.onnx to choose moves as the solution does.

    python train.py

Every position that play can reach and that is not decided yet (51 million, mirror images included) gets its exact value by
going back from the last stone. The network learns from positions of games in which each move is random or perfect by the
flip of a coin; what it is worth is measured on positions it has not seen, and by playing. Half an hour on one core, 3 GB of
memory; see ../requirements.txt.
"""
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))
from save_onnx import save  # noqa: E402

SEED, GAMES, EPOCHS, BATCH = 1, 50_000, 8, 512
WIDTH = HEIGHT = 5
COLUMN = HEIGHT + 1  # bits of a column, the lowest first, with one to spare above
LAST = WIDTH * HEIGHT

# A position is one number: in each column the stones of who is to move, and a 1 above the topmost stone of either.
EMPTY = np.uint32(sum(1 << COLUMN * c for c in range(WIDTH)))
# For each value of a column: the stones of both.
BELOW = np.array([(1 << max(v.bit_length() - 1, 0)) - 1 for v in range(1 << COLUMN)], np.uint32)


def stones(keys):
    """The stones of who is to move, and those of both."""
    both = np.zeros_like(keys)
    for c in range(WIDTH):
        both |= BELOW[(keys >> np.uint32(COLUMN * c)) & np.uint32(63)] << np.uint32(COLUMN * c)
    return keys ^ (both + EMPTY), both


def has_four(mine):
    found = np.zeros(mine.shape, bool)
    for step in (1, COLUMN - 1, COLUMN, COLUMN + 1):
        pairs = mine & (mine >> np.uint32(step))
        found |= (pairs & (pairs >> np.uint32(2 * step))) != 0
    return found


def moves(keys):
    """For each column: whether there is room, whether a stone there wins, and the position after it."""
    mine, both = stones(keys)
    for c in range(WIDTH):
        stone = (both + EMPTY) & np.uint32(((1 << COLUMN) - 1) << COLUMN * c)
        legal = (stone >> np.uint32(COLUMN * c)) < (1 << HEIGHT)
        after = both | stone
        yield legal, legal & has_four(mine | stone), (both ^ mine) + (after + EMPTY)


def solve():
    """For each number of stones: the positions in order, and their values.

    A value is 0 for a draw, 1 + the number of empty cells when who is to move will have won, and that below 0 when the other
    one will have."""
    levels = [np.array([EMPTY], np.uint32)]
    for _ in range(LAST):
        children = [after[legal & ~wins] for legal, wins, after in moves(levels[-1])]
        levels.append(np.unique(np.concatenate(children)))
    values = [np.zeros(len(levels[LAST]), np.int8)]
    for n in range(LAST - 1, -1, -1):
        values.insert(0, scores(levels[n], n, levels[n + 1], values[0]).max(1))
        print(f"{n} stones: {len(levels[n])} positions", flush=True)
    return levels, values


def scores(keys, n, following, values):
    """The value of each move in each position of `n` stones; −100 where a column is full."""
    found = np.full((len(keys), WIDTH), -100, np.int8)
    for c, (legal, wins, after) in enumerate(moves(keys)):
        goes_on = legal & ~wins
        found[goes_on, c] = -values[np.searchsorted(following, after[goes_on])]
        found[wins, c] = LAST - n
    return found


def planes(keys):
    """N×2×5×5: the stones of who is to move and those of the other, the top row first."""
    mine, both = stones(keys)
    bits = np.array([[1 << (COLUMN * c + HEIGHT - 1 - r) for c in range(WIDTH)] for r in range(HEIGHT)], np.uint32)
    parts = [(part[:, None, None] & bits) != 0 for part in (mine, both ^ mine)]
    return torch.tensor(np.stack(parts, 1).astype(np.float32))


def play(levels, values, games, rng, choose):
    """Plays games; `choose(n, keys, scores)` gives columns. Yields n, positions, scores, columns; at the end who won: 1 who
    began, −1 the other, 0 neither."""
    keys, alive = np.full(games, EMPTY), np.arange(games)
    won = np.zeros(games, int)
    for n in range(LAST):
        worth = scores(keys, n, levels[n + 1], values[n + 1])
        columns = choose(n, keys, worth)
        yield n, keys, worth, columns
        steps = list(moves(keys))
        wins = np.stack([w for _, w, _ in steps], 1)[np.arange(len(keys)), columns]
        after = np.stack([a for _, _, a in steps], 1)[np.arange(len(keys)), columns]
        won[alive[wins]] = 1 if n % 2 == 0 else -1
        keys, alive = after[~wins], alive[~wins]
    yield won


def best_of(worth, rng):
    """One of the best moves, at random."""
    return (np.where(worth == worth.max(1, keepdims=True), 1, 0) * rng.random(worth.shape)).argmax(1)


def any_of(worth, rng):
    return ((worth > -100) * rng.random(worth.shape)).argmax(1)


def chosen(net, keys, worth):
    with torch.no_grad():
        logits = torch.cat([net(planes(part)) for part in np.array_split(keys, len(keys) // 4096 + 1)])
    return np.where(worth > -100, logits.numpy(), -np.inf).argmax(1)


def main():
    rng = np.random.default_rng(SEED)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    levels, values = solve()
    print(f"{sum(map(len, levels))} positions; with perfect play the first move leads to {values[0][0]}", flush=True)

    def half(_, keys, worth):
        return np.where(rng.random(len(keys)) < 0.5, best_of(worth, rng), any_of(worth, rng))

    seen = [np.unique(step[1]) for step in play(levels, values, GAMES, rng, half) if isinstance(step, tuple)]
    worth = np.concatenate([scores(k, n, levels[n + 1], values[n + 1]) for n, k in enumerate(seen)])
    keys = np.concatenate(seen)
    # Where every move is as good there is nothing to learn.
    best = worth == worth.max(1, keepdims=True)
    matters = best.sum(1) < (worth > -100).sum(1)
    keys, worth, best = keys[matters], worth[matters], best[matters]
    order = rng.permutation(len(keys))
    held, kept = order[: len(order) // 20], order[len(order) // 20 :]
    print(f"{len(kept)} positions to learn from, {len(held)} held out", flush=True)

    net = nn.Sequential(
        nn.Conv2d(2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * LAST, 64), nn.ReLU(),
        nn.Linear(64, WIDTH),
    )
    wanted = torch.tensor(best / best.sum(1, keepdims=True), dtype=torch.float32)
    steps = EPOCHS * (len(kept) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps)
    for epoch in range(EPOCHS):
        shuffled = kept[rng.permutation(len(kept))]
        for i in range(0, len(kept) - BATCH + 1, BATCH):
            batch = shuffled[i : i + BATCH]
            x, target = planes(keys[batch]), wanted[batch]
            if rng.random() < 0.5:
                x, target = x.flip(3), target.flip(1)
            loss = F.cross_entropy(net(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        columns = chosen(net, keys[held], worth[held])
        got, most = worth[held, columns], worth[held].max(1)
        print(f"epoch {epoch + 1}: of {len(held)} held-out positions where moves differ {(got == most).mean():.2%} best moves, "
              f"{(np.sign(got) == np.sign(most)).mean():.2%} that keep the win or the draw", flush=True)

    for name, other in (("random", any_of), ("perfect", best_of)):
        for first in (0, 1):
            def choose(n, k, w, first=first, other=other):
                if not len(k):
                    return np.zeros(0, int)
                # The perfect player's moves are random among the best, so the games differ.
                return chosen(net, k, w) if n % 2 == first else other(w, rng)

            *_, won = play(levels, values, 2000, rng, choose)
            won = won if first == 0 else -won
            print(f"2000 games against {name} play, {'first' if first == 0 else 'second'} to move: "
                  f"{(won == 1).mean():.1%} won, {(won == 0).mean():.1%} drawn, {(won == -1).mean():.1%} lost", flush=True)

    save(HERE / "game.onnx", net, [2, HEIGHT, WIDTH], WIDTH,
         "Connect Four 5×5: planes of own and other stones, top row first, to a logit for each column")


main()
