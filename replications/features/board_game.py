"""Dictionary circuits of a board game (system 323): what tells that a game is over, by weights.

A transformer learns to go on with random games of noughts and crosses, which are over when three
are in a row. At the end of games that it has not seen, contributions to the logit of that (less the
mean of all) are traced to features of what each block's attention and MLP wrote. Does taking away
those that add most lower the logit as much as taking away the best that exact patching finds, which
tries each active feature by itself? Beside it as many others that are active, and the largest of
dictionaries of activity whose units are shuffled.
"""

import numpy as np
import torch
from scipy.stats import spearmanr

import nissl
from nissl.features import Schedule, contributions, sae
from nissl.recording import as_recording
from nissl.training import Batches, next_token_loss, small_language_model, train

SEED, OVER, STEPS, BATCH, GAMES, TESTED, TOP, RANDOM = 0, 9, 3000, 128, 20_000, 30, 5, 10
SIZES = {"vocabulary": 10, "d_model": 64, "n_layers": 3, "n_heads": 8, "d_mlp": 128, "context": 12}
SITES = [f"blocks.{i}.{part}.out" for i in range(3) for part in ("attn", "mlp")]
ROWS = [{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {0, 3, 6}, {1, 4, 7}, {2, 5, 8}, {0, 4, 8}, {2, 4, 6}]
WAY, QUIET = torch.eye(10)[OVER] - 0.1, {"progress": False}


def won(played):
    """Say whether the side that played last has three in a row."""
    return any(row <= set(played[::-2]) for row in ROWS)


def game(rng):
    """Return the squares of a random game, until it is over."""
    order = rng.permutation(9).tolist()
    return next((order[:n] for n in range(5, 9) if won(order[:n])), order)


class Without:
    """An edit: what features wrote is taken away, in each row of a batch that of others."""

    reads = ()

    def __init__(self, taken):
        self.taken, self.writes = taken, tuple(taken)

    def begin(self, batch):
        """Begin a game."""

    def apply(self, site, x, positions, phase):
        """Take away."""
        return x - self.taken[site]


def traced(net, ids, made):
    """Return features that are active, what adds most to the logit first."""
    table = contributions(net, ids, to=("logits", WAY), dictionaries=made)
    table = table[table["unit"].str.contains("[", regex=False)]
    return table.sort_values("contribution", ascending=False, ignore_index=True)


def lost(net, ids, made, table, sets):
    """Return by how much the logit falls when each set of rows of a table is taken away."""
    wrote = {one.site_out: one.directions.detach() for one in made}
    taken = {site: torch.zeros(len(sets), len(ids), rows.shape[1]) for site, rows in wrote.items()}
    for row, (unit, at, size) in enumerate(table[["unit", "position", "activation"]].values):
        site, _, number = unit[:-1].partition(".sae[")
        taken[site][:, at] += sets[:, row, None] * size * wrote[site][int(number)]
    with net.edit(Without(taken)):
        after = net.run([ids] * len(sets), sites="logits")["logits"][:, -1] @ WAY
    return (net.run([ids], sites="logits")["logits"][0, -1] @ WAY - after).numpy()


if __name__ == "__main__":
    rng = np.random.default_rng(SEED)
    unique = sorted({tuple(game(rng)) for _ in range(GAMES)})
    learn, others = ([[OVER, *x] for x in unique if (sum(x[:5]) % 8 == 0) == i] for i in (0, 1))
    rng.shuffle(others)
    whole = torch.tensor([x + [OVER] * (12 - len(x)) for x in learn])
    how = {"steps": STEPS, "learning_rate": 2e-3, "warmup": 50, "schedule": "cosine"}
    model = small_language_model(seed=SEED, tie_word_embeddings=False, **SIZES)
    done = train(model, Batches(whole, batch_size=BATCH), loss=next_token_loss, **how, **QUIET)
    net, some = nissl.load(done.model, **QUIET), learn[:: len(learn) // 3000]
    how = {"n_features": 256, "k": 8, "schedule": Schedule(samples=200_000, batch_size=512)}
    made, mixed = [], []
    for site in SITES:
        acts = nissl.record(net, some, sites=site, **QUIET)
        units = {name: acts[name].values for name in ("unit", "site")}
        other = as_recording(rng.permuted(acts.values, axis=0), units=units)
        made.append(sae(acts, **how, **QUIET))
        mixed.append(sae(other, **how, **QUIET))

    falls, ranks, correct = [], [], []
    for ids in [x for x in others if won(x[1:]) and len(x) < 10][:TESTED]:
        table, other = (traced(net, ids, one) for one in (made, mixed))
        one, top = torch.eye(len(table)), torch.arange(len(other)) < TOP
        each = lost(net, ids, made, table, one)
        draws = [rng.permutation(len(table))[:TOP] for _ in range(RANDOM)]
        sets = np.array([np.arange(TOP), np.argsort(-each)[:TOP], *draws])
        own, exact, *random = lost(net, ids, made, table, one[sets].sum(1))
        falls.append([own, exact, np.mean(random), *lost(net, ids, mixed, other, top[None])])
        ranks.append(spearmanr(table["contribution"], each).statistic)
        correct.append(int(net.run([ids], sites="logits")["logits"][0, -1].argmax()) == OVER)
    own, exact, random, shuffled = np.mean(falls, axis=0)
    nissl.claim(
        "board_game",
        system=323,
        says="Contributions find the features that exact patching finds, without patching.",
        measured={
            "share": own / exact,
            "logit_lost": exact,
            "rank": np.mean(ranks),
            "over_told": np.mean(correct),
        },
        null={"random": random / exact, "shuffled": shuffled / exact},
        rule="share >= 0.5 and share > 2 * null.random and share > 2 * null.shuffled",
        data=f"noughts and crosses, {TESTED} games not learned from; share: of the fall of the "
        f"logit of 'over' without the {TOP} features of most effect by exact patching, what is "
        f"lost without the {TOP} of the largest contributions; rank: of contributions with exact "
        "effects (Spearman), of all active features; over_told: games that the model says are over",
    )
