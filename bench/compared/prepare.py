"""What all arms are given, made once by Nissl and kept as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nissl
from bench.record import full_windows
from nissl import specimens
from nissl.behaviour import indirect_object
from nissl.cache import cache_dir

SITE, N_STIMULI, N_PAIRS = "blocks.15.resid_post", 500, 2
N_FEATURES, K = 2304, 32


def prepare(folder: Path) -> None:
    """Write tokens, pairs of prompts, activity, a dictionary and a recording.

    Parameters
    ----------
    folder : Path
        An empty folder.
    """
    net, texts = nissl.load("smollm2", progress=False), nissl.read("reader")["text"].str[:4000]
    (folder / "model").symlink_to(specimens.load("smollm2", progress=False))
    keep(folder, tokens=np.stack(full_windows(net)[:2]))
    keep(folder, **pairs(net))
    store = cache_dir("bench") / "compared.zarr"
    how: Any = {"sites": [SITE, "blocks.20.resid_post"], "window": 256, "progress": False}
    rec = nissl.record(net, list(texts[:10]), store=store, **how)
    here = rec["site"].values == SITE
    later = rec["position"].values > 0  # the first token of a window dwarfs all others
    keep(folder, acts=rec.values[:, here][later])
    spread = rec[later][:: int(later.sum()) // N_STIMULI][:N_STIMULI].values
    keep(folder, first=spread[:, here], second=spread[:, ~here])
    dictionary(folder)
    keep(folder, feature=most_active(folder))
    haxby(folder)


def pairs(net: Any) -> dict[str, Any]:
    """Return prompts of one length that differ in one name, and their answers."""
    found = indirect_object(net, n=16, progress=False).halves[0].behaviour()
    length = max(len(ids) for ids in found.clean_ids)
    rows = [i for i, ids in enumerate(found.clean_ids) if len(ids) == length][:N_PAIRS]
    clean, corrupted = (
        np.stack([ids[i] for i in rows]) for ids in (found.clean_ids, found.corrupted_ids)
    )
    right, wrong = (np.asarray(x[rows, 0]) for x in (found.right, found.wrong))
    return {"clean": clean, "corrupted": corrupted, "right": right, "wrong": wrong}


def dictionary(folder: Path) -> None:
    """Train one, and write it in SAELens' format, with its scale in the weights."""
    from safetensors.torch import save_file

    rec = nissl.recording.as_recording(np.load(folder / "acts.npy"))
    schedule = nissl.features.Schedule(samples=40_000, batch_size=1024)
    made = nissl.features.sae(
        rec, n_features=N_FEATURES, k=K, schedule=schedule, progress=False
    ).eval()
    scale, to = made.scale.item(), folder / "sae"
    to.mkdir()
    with torch.no_grad():
        weights = {
            "W_enc": made.w_enc.T / scale,
            "b_enc": made.b_enc,
            "W_dec": made.w_dec * scale,
            "b_dec": made.b_dec * scale,
        }
    save_file(
        {k: v.detach().contiguous() for k, v in weights.items()}, to / "sae_weights.safetensors"
    )
    about = {
        "architecture": "topk",
        "d_in": rec.shape[1],
        "d_sae": N_FEATURES,
        "k": K,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "rescale_acts_by_decoder_norm": False,
        "metadata": {"hook_name": "blocks.15.hook_resid_post", "sae_lens_version": "6.0.0"},
    }
    (to / "cfg.json").write_text(json.dumps(about))


def haxby(folder: Path) -> None:
    """Write the recording, cleaned, its labels, and where its files are."""
    rec = nissl.recording.clean(
        nissl.read("haxby", progress=False), by="run", detrend=True, standardise=True
    )
    files = specimens.fetch("haxby", progress=False)
    (folder / "haxby").symlink_to(next(Path(files).rglob("bold.nii.gz")).parent)
    category = rec["category"].values.astype(str)
    keep(folder, bold=rec.values, category=category, run=rec["run"].values)


def keep(folder: Path, **arrays: Any) -> None:
    """Write arrays, each to a file of its name."""
    for name, x in arrays.items():
        np.save(folder / f"{name}.npy", x)


def most_active(folder: Path) -> Any:
    """Return the feature with the largest mean."""
    made = nissl.features.load(folder / "sae")
    with torch.no_grad():
        return made.encode(torch.from_numpy(np.load(folder / "acts.npy"))).mean(0).argmax().numpy()
