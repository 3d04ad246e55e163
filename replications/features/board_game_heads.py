"""Integer codes of heads on a board game (system 273): which heads tell that a game is over.

The transformer of `board_game.py`, which goes on with noughts and crosses. A small dictionary is
learned of the outputs of all heads on games that are over after seven moves and on as long ones
that are not; heads are ranked by how many games that are over have a code that no other has. Are
the heads that exact patching finds, a run for each head, among the first? Beside it the same of
games shuffled between the two sets; and for power, heads that write a direction of their own into
games that are over.
"""

import numpy as np
import torch
from scipy.stats import mannwhitneyu

import nissl
from nissl.behaviour import Behaviour
from nissl.circuits import effects
from nissl.features import head_codes
from nissl.network import nodes_of
from nissl.statistics import Test
from nissl.statistics.figure import by_layer, save_figure
from nissl.training import Batches, next_token_loss, small_language_model, train

SEED, OVER, STEPS, BATCH, GAMES, PLIES, PAIRS, TOP, SHUFFLES = 0, 9, 3000, 128, 20_000, 7, 64, 6, 5
SIZES = {"vocabulary": 10, "d_model": 64, "n_layers": 3, "n_heads": 8, "d_mlp": 128, "context": 12}
ROWS = [{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {0, 3, 6}, {1, 4, 7}, {2, 5, 8}, {0, 4, 8}, {2, 4, 6}]
WAY, QUIET = torch.eye(10)[OVER] - 0.1, {"progress": False}


def won(played):
    """Say whether the side that played last has three in a row."""
    return any(row <= set(played[::-2]) for row in ROWS)


def game(rng):
    """Return the squares of a random game, until it is over."""
    order = rng.permutation(9).tolist()
    return next((order[:n] for n in range(5, 9) if won(order[:n])), order)


def scores(net, over, going):
    """Return the score of each head: games that are over whose code no other game has."""
    return head_codes(net, over, going, test=Test(99), **QUIET).table["effect"].to_numpy()


def told(values, truth):
    """Return how well values tell the heads of a set from others, and by how much chance."""
    found = mannwhitneyu(values[truth], values[~truth], alternative="greater")
    return {"auroc": found.statistic / (truth.sum() * (~truth).sum()), "p": found.pvalue}


class Planted:
    """An edit: heads write a direction of their own into given games, as large as their output."""

    reads = ()

    def __init__(self, heads, games, width=8, n_heads=8):
        self.games, self.added = {tuple(x) for x in games}, {}
        rng = torch.Generator().manual_seed(SEED)
        for site, _, number in (head[:-1].partition("[head ") for head in heads):
            rows = self.added.setdefault(site, torch.zeros(n_heads, width))
            rows[int(number)] = torch.randn(width, generator=rng) / (width * n_heads) ** 0.5
        self.writes = tuple(self.added)

    def begin(self, batch):
        """Look which rows are of the games."""
        rows = zip(batch.ids.tolist(), batch.prompt_lengths.tolist(), strict=True)
        self.on = torch.tensor([tuple(x[:n]) in self.games for x, n in rows])[:, None, None]

    def apply(self, site, x, positions, phase):
        """Add the directions."""
        return x + x.norm(dim=-1, keepdim=True) * self.added[site].flatten() * self.on


if __name__ == "__main__":
    rng = np.random.default_rng(SEED)
    unique = sorted({tuple(game(rng)) for _ in range(GAMES)})
    learn, others = ([[OVER, *x] for x in unique if (sum(x[:5]) % 8 == 0) == i] for i in (0, 1))
    rng.shuffle(others)
    whole = torch.tensor([x + [OVER] * (12 - len(x)) for x in learn])
    how = {"steps": STEPS, "learning_rate": 2e-3, "warmup": 50, "schedule": "cosine"}
    model = small_language_model(seed=SEED, tie_word_embeddings=False, **SIZES)
    done = train(model, Batches(whole, batch_size=BATCH), loss=next_token_loss, **how, **QUIET)
    net = nissl.load(done.model, **QUIET)
    over = [x for x in others if len(x) == PLIES + 1][:PAIRS]
    going = [x[: PLIES + 1] for x in others if len(x) > PLIES + 1][: len(over)]
    n, nodes = len(over), nodes_of(net, "attn.z").table()
    pairs, how = Behaviour(net, over, going, metric=lambda x: x @ WAY), {"positions": "all"}
    found = effects(pairs, over="attn.z", method="exact", test=None, **how, **QUIET).table
    effect = found.set_index("unit")["indirect_effect"].reindex(nodes["unit"]).abs().to_numpy()
    wanted = effect >= np.sort(effect)[-TOP]
    score = scores(net, over, going)
    mixed = [[(over + going)[i] for i in rng.permutation(2 * n)] for _ in range(SHUFFLES)]
    null = [told(scores(net, x[:n], x[n:]), wanted)["auroc"] for x in mixed]
    chosen = np.isin(np.arange(len(nodes)), rng.choice(len(nodes), TOP, replace=False))
    with net.edit(Planted(nodes["unit"][chosen], over)):
        planted = scores(net, over, going)

    save_figure(by_layer(score, nodes["layer"], found=wanted).figure, "out/features/board_game.png")
    said = (net.run(over + going, sites="logits")["logits"][:, -1].argmax(-1) == OVER).numpy()
    nissl.claim(
        "board_game_heads",
        system=273,
        says="On a board game, codes that only positive examples have find the heads that exact "
        "patching finds.",
        measured={
            **told(score, wanted),
            "right_over": said[:n].mean(),
            "right_going": 1 - said[n:].mean(),
        },
        null={"auroc": np.mean(null)},
        rule="auroc >= 0.75 and auroc > null.auroc + 0.1 and p < 0.05",
        power=told(planted, chosen),
        data=f"noughts and crosses, {n} games that are over after {PLIES} moves and as many that "
        f"are not; auroc: by codes, of the {TOP} of {len(nodes)} heads of the largest effect by "
        f"exact patching on the logit of 'over'; null: {SHUFFLES} shuffles; power: heads planted",
    )
