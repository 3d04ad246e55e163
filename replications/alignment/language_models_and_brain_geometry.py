"""Language models and brain geometry (system 187): planted responses, by RSA and by retrieval.

MiniLM (23M parameters), SmolLM2 (135M) and Gemma 3 (270M) read the same sentences. The responses
are PLANTED, not measured: noisy voxels read a layer of the largest model, from not at all to
strongly, so nothing here is said of a brain. Do RSA, beside its noise ceiling, and the retrieval of
sentences after a Procrustes rotation grow with what was planted, and name the model?
"""

import numpy as np
import pandas as pd
from scipy.linalg import orthogonal_procrustes

import nissl
from nissl.alignment import compare
from nissl.cache import cache_dir
from nissl.recording import aggregate, as_recording
from nissl.statistics import Test, folds
from nissl.statistics.figure import curve, heatmap, panels, save_figure

SEED, N_SENTENCES, N_CHARACTERS, N_VOXELS, N_REPEATS, N_AXES = 0, 120, 100, 200, 4, 15
MODELS = {"minilm": (1, 3, 5), "smollm2": (5, 15, 25), "gemma3-270m": (3, 9, 15)}
PLANTED, STRENGTHS = "gemma3-270m 9", (0.0, 0.1, 0.2, 0.4, 0.8)


def layers(name):
    """Return layers of a model, a sentence's mean over its tokens, scaled unit by unit."""
    sites = [f"blocks.{i}.resid_post" for i in MODELS[name]]
    store = cache_dir("activity") / f"{name}-{N_SENTENCES}-sentences"
    net = nissl.load(name, progress=False)
    rec = aggregate(
        nissl.record(net, sentences, sites=sites, store=store, progress=False), by="document"
    )
    made = {}
    for i, site in zip(MODELS[name], sites, strict=True):
        x = rec.values[:, rec["site"].values == site].astype(float)
        made[f"{name} {i}"] = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)
    return made


def responses(x, strength):
    """Return repeats of noisy voxels, each a mixture of a layer's units."""
    signal = x @ voxels
    noise = rng.standard_normal((N_REPEATS, *signal.shape))
    values = (strength * signal / signal.std(0) + noise).reshape(-1, N_VOXELS)
    stimulus = np.tile(np.arange(N_SENTENCES), N_REPEATS)
    repeat = np.repeat(np.arange(N_REPEATS), N_SENTENCES)
    return as_recording(values, samples={"stimulus": stimulus, "repeat": repeat})


def axes_of(x):
    """Return the leading principal axes of sentences, of one length."""
    u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    x = u[:, :N_AXES] * s[:N_AXES]
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def retrieval(x, y):
    """Return how often a held-out sentence is the nearest of those held out, once rotated."""
    a, b, right = axes_of(x), axes_of(y), []
    for train, test in folds(n_samples=N_SENTENCES, n=4):
        turn, _ = orthogonal_procrustes(a[train], b[train])
        right.append((a[test] @ turn @ b[test].T).argmax(1) == np.arange(len(test)))
    return np.concatenate(right).mean()


if __name__ == "__main__":
    rng = np.random.default_rng(SEED)
    sentences = list(nissl.read("reader")["text"].str[:N_CHARACTERS][:N_SENTENCES])
    found = {key: x for name in MODELS for key, x in layers(name).items()}
    voxels = rng.standard_normal((found[PLANTED].shape[1], N_VOXELS))
    brains = {str(strength): responses(found[PLANTED], strength) for strength in STRENGTHS}
    test = Test(n_permutations=100, seed=SEED)
    compared = compare(found, brains, repeats="repeat", test=test, progress=False)
    means = {key: aggregate(rec, by="stimulus").values for key, rec in brains.items()}
    retrieved = pd.DataFrame(
        {key: {name: retrieval(x, y) for name, x in found.items()} for key, y in means.items()}
    )
    rsa, table = compared.matrix, compared.table.set_index(["first", "second"])
    ceiling = table["ceiling"].xs(PLANTED)[rsa.columns]
    by_model = rsa.groupby(lambda name: name.split()[0]).max().loc[list(MODELS)]

    figure, (left, middle, right) = panels(3)
    curve(by_model.T.assign(ceiling=ceiling).rename_axis("planted strength"), axes=left)
    left.set(ylabel="RSA, best layer")
    for ax, matrix, title in ((middle, rsa, "RSA"), (right, retrieved, "retrieval")):
        heatmap(matrix.round(2), numbers=True, axes=ax).set(title=title, xlabel="planted strength")
    save_figure(figure, "out/alignment/language_models_and_brain_geometry.png")
    print(rsa.round(3).to_string(), retrieved.round(3).to_string(), sep="\n")

    strongest, weak, none = rsa.columns[-1], rsa.columns[2], rsa.columns[0]
    nissl.claim(
        "language_models_and_brain_geometry",
        system=187,
        says="Similarity to responses grows with what they share with a model, largest for it.",
        measured={
            "rsa": rsa[strongest][PLANTED],
            "rsa_weak": rsa[weak][PLANTED],
            "rsa_none": rsa[none][PLANTED],
            "rsa_of_others": by_model[strongest].drop(PLANTED.split()[0]).max(),
            "rsa_by_strength": rsa.loc[PLANTED].tolist(),
            "ceiling_by_strength": ceiling.tolist(),
            "best_layer": rsa[strongest].idxmax(),
            "retrieval_by_strength": retrieved.loc[PLANTED].tolist(),
            "p": table["p"][PLANTED, strongest],
        },
        null={"rsa": table["null_mean"][PLANTED, strongest]},
        rule="rsa > null.rsa + 0.2 and rsa > rsa_weak + 0.1 and rsa > rsa_of_others",
        data=f"{N_SENTENCES} beginnings of texts of {N_CHARACTERS} characters; responses PLANTED: "
        f"{N_VOXELS} voxels, {N_REPEATS} repeats, noise of variance one, mixtures of {PLANTED}",
    )
