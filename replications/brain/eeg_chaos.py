"""Chaos features for EEG (system 284): does a transformer predict better that is given them.

The next 20 samples of eight channels are predicted from the last 100 by a small transformer, given
the largest Lyapunov exponent and the correlation dimension of each channel in two seconds before:
the right ones, those of other windows (null), or none. Beside it linear autoregression and
persistence. Power: the future of a channel moves with its exponent.
"""

import numpy as np
import torch
from torch import nn

import nissl
from nissl import statistics
from nissl.statistics.figure import bar, save_figure
from nissl.training import Batches, train

SEED, MINUTES, SLOW, LIMIT, RATE, PAST, FUTURE, EVERY = 0, 15, 1.0, 5.0, 100, 100, 20, 10
PATCH, WIDTH, STEPS, FITTED, SIZE, DRAWS = 10, 48, 1500, 0.6, 0.5, 39
CHANNELS = ["F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2"]
STATE = {"dimension": 4, "delay": 2, "apart": 10}


def features(series):
    """Return the largest Lyapunov exponent and the correlation dimension of series (n, time)."""
    exponent = [statistics.lyapunov_exponent(x, (0, 5), **STATE) for x in series]
    dimension = [statistics.correlation_dimension(x, (0.005, 0.1), **STATE) for x in series]
    return np.transpose([exponent, dimension])


def beyond(series):
    """Return the share of series of which each feature is not that of random phases."""
    null = statistics.PhaseRandomised(adjust=True)
    drawn = [null.draw_series(x, DRAWS, seed=i) for i, x in enumerate(series)]
    draws = [features(d).ravel() for d in np.swapaxes(drawn, 0, 1)]
    about = {"score": "chaos", "method": "chaos", "null": null.name}
    units = [str(i) for i in range(2 * len(series))]
    found = statistics.against_null(features(series).ravel(), draws, units=units, **about)
    return (found.table["p"].to_numpy().reshape(-1, 2) <= 0.05).mean(0)


class Forecaster(nn.Module):
    """Encoder and decoder: patches of the past and a token of chaos to patches of the future."""

    def __init__(self, channels):
        super().__init__()
        self.patch = nn.Linear(PATCH * channels, WIDTH)
        self.chaos = nn.Linear(2 * channels, WIDTH)
        self.place = nn.Parameter(0.1 * torch.randn(PAST // PATCH + 1, WIDTH))
        self.asked = nn.Parameter(0.1 * torch.randn(FUTURE // PATCH, WIDTH))
        self.body = nn.Transformer(WIDTH, 4, 1, 1, 2 * WIDTH, 0.1, batch_first=True)
        self.out = nn.Linear(WIDTH, PATCH * channels)

    def forward(self, past, chaos):
        """Return the future, shape (n, FUTURE, channels)."""
        tokens = self.patch(past.reshape(len(past), PAST // PATCH, -1))
        tokens = torch.cat([tokens, self.chaos(chaos)[:, None]], 1) + self.place
        made = self.out(self.body(tokens, self.asked.expand(len(past), -1, -1)))
        return made.reshape(len(past), FUTURE, -1)


def scores(past, chaos, future, fitted, tested, steps=STEPS):
    """Return the R2 of each predictor in the tested windows."""
    rng, moved = np.random.default_rng(SEED), chaos.copy()
    for part in (fitted, tested):
        moved[part] = chaos[rng.permutation(part)]
    how = {"loss": loss, "learning_rate": 3e-3, "schedule": "cosine", "warmup": 20}
    made = {"persistence": np.broadcast_to(past[:, -1:], future.shape)[tested]}
    for name, given in {"chaos": chaos, "moved": moved, "without": 0 * chaos}.items():
        data = [torch.tensor(x, dtype=torch.float32) for x in (past, given, future)]
        batches = Batches(*(x[fitted] for x in data), batch_size=64, seed=SEED)
        torch.manual_seed(SEED)
        model = train(Forecaster(past.shape[2]), batches, steps=steps, progress=False, **how).model
        with torch.no_grad():
            made[name] = model(data[0][tested], data[1][tested]).numpy()
    flat, wanted = (x.reshape(len(x), -1) for x in (past, future))
    for name, x in {"linear": flat, "linear_with_chaos": np.hstack([flat, chaos])}.items():
        made[name] = statistics.ridge(x[fitted], wanted[fitted], progress=False).predict(x[tested])
    y = future[tested]
    return {k: 1 - ((y - v.reshape(y.shape)) ** 2).sum() / (y**2).sum() for k, v in made.items()}


def loss(model, batch):
    """Return the mean squared error."""
    return (model(*batch[:2]) - batch[2]).square().mean()


if __name__ == "__main__":
    eeg = nissl.read("absence-eeg")[: MINUTES * 60 * 2 * RATE]
    eeg = nissl.recording.clean(eeg[:, np.isin(eeg["unit"].values, CHANNELS)], low=SLOW)
    x = eeg.values.reshape(-1, 2, len(CHANNELS)).mean(1)
    cut = round(FITTED * len(x))
    x = np.clip(x / x[:cut].std(0), -LIMIT, LIMIT)
    before = [x[t - 2 * RATE : t].T for t in range(2 * RATE, len(x), RATE)]
    now = np.arange(2 * RATE, len(x) - FUTURE, EVERY)
    fitted, tested = np.flatnonzero(now < cut - FUTURE), np.flatnonzero(now > cut + 3 * RATE)
    chaos = np.stack([features(series) for series in before])[now // RATE - 2]
    chaos = (chaos - chaos[fitted].mean(0)) / chaos[fitted].std(0)
    past, future = (np.stack([x[t + a : t + b] for t in now]) for a, b in ((-PAST, 0), (0, FUTURE)))
    given = past, chaos.reshape(len(now), -1)
    real = scores(*given, future, fitted, tested)
    power = scores(*given, future + SIZE * chaos[:, None, :, 0], fitted, tested)
    share = beyond(np.concatenate(before[::150]))
    save_figure(bar(real).figure, "out/brain/eeg_chaos.png")

    nissl.claim(
        "eeg_chaos",
        system=284,
        says="A transformer that is given Lyapunov exponents and correlation dimensions predicts "
        "EEG better than one that is not, and than linear autoregression.",
        measured={"r2": real["chaos"], **real, "beyond": share},
        null={"r2": real["moved"], "beyond": 0.05},
        power={"r2": power["chaos"], "null.r2": power["moved"], **power},
        rule="r2 > null.r2 + 0.01 and r2 > without + 0.01 and r2 > linear + 0.01",
        data=f"absence-eeg: {MINUTES} minutes of {len(CHANNELS)} channels at {RATE} Hz, slower "
        f"than {SLOW} Hz filtered out (both ways), in deviations, {LIMIT} at most; R2 in the last "
        f"{1 - FITTED:.0%}. Beyond: shares of exponents and dimensions of {2 * RATE} samples of "
        f"a channel that are not those of {DRAWS} series of random phases. Power: {SIZE} a "
        "deviation of exponents",
    )
