"""Dynamic connectome (system 15): communities of cells, and when each of them is there.

Affinities of calcium traces in windows of ten seconds, less those of the same traces shifted
against each other, are factorised into communities with a course each. What is shifted has no
communities: in it three are planted that come and go, and have to be found where they are. Traces
that vary together as they would at any time (random phases, the same for all) are no dynamics: how
much courses vary in them stands beside.
"""

import numpy as np
from sklearn.metrics import adjusted_rand_score

import nissl
from nissl.brain import dynamic_connectome
from nissl.recording import clean
from nissl.statistics import CircularShift, PhaseRandomised, Test
from nissl.statistics.figure import save_figure

SEED, WINDOW, SLOW, LIKELY, STRENGTH, SIZE = 0, 10.0, 0.02, 0.5, 1.5, 12
NUMBERS, FRAMES, TEST = (1, 2, 3, 4, 5, 6), 100, Test(39, seed=SEED)


def shifted(rec):
    """Return the recording with every trace moved in time by itself."""
    n, frames = rec.sizes["unit"], np.arange(rec.sizes["sample"])
    places = [CircularShift().draw(frames, 1, seed=1000 + u)[0] for u in range(n)]
    moved = [rec.values[place, u] for u, place in enumerate(places)]
    return rec.copy(data=np.stack(moved, axis=1))


def with_communities(rec):
    """Return the recording with a drive shared by each of three groups, and who is in one when."""
    rng = np.random.default_rng(SEED)
    n_windows = rec.sizes["sample"] // FRAMES
    there = np.zeros((n_windows, 3), bool)
    there[: n_windows // 2, 0] = there[n_windows // 3 : 2 * n_windows // 3, 1] = True
    there[n_windows // 2 :, 2] = True
    values, truth = rec.values.copy(), np.full((n_windows, rec.sizes["unit"]), -1)
    order = rng.permutation(rec.sizes["unit"])
    for k, cells in enumerate(np.split(order[: 3 * SIZE], 3)):
        drive = rng.standard_normal(len(values)) * np.repeat(there[:, k], FRAMES)
        values[:, cells] += STRENGTH * values[:, cells].std(axis=0) * drive[:, None]
        truth[np.ix_(there[:, k], cells)] = k
    return rec.copy(data=values), truth, there


def found_in(rec, test=TEST):
    """Return the dynamic connectome."""
    return dynamic_connectome(rec, WINDOW, n_communities=NUMBERS, test=test, progress=False)


traces = nissl.read("calcium")
least = traces.values.reshape(-1, FRAMES, traces.sizes["unit"]).std(axis=1).min(axis=0)
traces = clean(traces[:, (least > 1e-6) & (traces["probability"].values >= LIKELY)], low=SLOW)
real = found_in(traces)
planted, truth, there = with_communities(shifted(traces))
recovered = found_in(planted)
course = np.corrcoef(there.T.astype(float), recovered.course.T)[:3, 3:].max(axis=1)
steady = PhaseRandomised().draw_series(traces.values, 3, seed=SEED)
still = [found_in(traces.copy(data=one), Test(2)) for one in steady]
save_figure(real.plot(), "out/brain/dynamic_connectome.png")

figures = {
    name: {"affinity": one.finding.table["affinity"][0], "p": one.finding.table["p"].min()}
    for name, one in {"real": real, "planted": recovered}.items()
}
found = {"planted_ari": adjusted_rand_score(truth.ravel(), recovered.labels().ravel())}
nissl.claim(
    "dynamic_connectome",
    system=15,
    says="Non-negative factorisation of affinities over time reveals communities of cells and when "
    "each is there.",
    measured={
        **figures["real"],
        **found,
        "planted_course_correlation": course.min(),
        "communities": int((real.finding.table["q"] < 0.05).sum()),
        "variation": real.finding.table["variation"].mean(),
    },
    null={
        "affinity": real.finding.table["null_mean"][0],
        "planted_ari": 0.0,
        "variation": np.mean([one.finding.table["variation"].mean() for one in still]),
    },
    power={**figures["planted"], **found},
    rule="affinity > 2 * null.affinity and p < 0.05",
    data=f"calcium: {traces.sizes['unit']} of 219 regions of interest (suite2p: probability of a "
    f"cell {LIKELY} or more; it accepted {int(traces['accepted'].sum())}), {WINDOW:.0f} s windows "
    f"of 200 s, slower than {SLOW} Hz filtered out. Affinity: of two cells, added by the strongest "
    "community, root mean square; null: of traces shifted against each other. Planted: 3 groups "
    f"of {SIZE} in shifted traces. Null of variation: stationary traces of the same spectra and "
    "correlations",
)
