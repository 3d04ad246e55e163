"""What the files of a trained dictionary say: SAELens, dictionary_learning, sparsify, and ours."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.features.dictionary import FORMAT, TrainedDictionary
from nissl.features.kinds.jump_relu import RATE
from nissl.features.kinds.kind import Kind, kind_of

FILES = ("sae_weights.safetensors", "sae.safetensors", "ae.pt")
READABLE = (
    "give a folder of SAELens (cfg.json, sae_weights.safetensors), dictionary_learning (config.json"
    ", ae.pt) or sparsify (cfg.json, sae.safetensors), or a file that TrainedDictionary.save wrote"
)
FORMS = {"topk": "topk", "standard": "relu", "gated": "gated", "jumprelu": "jump_relu"}
FORMS |= {"batchtopk": "batch_topk", "matryoshka_batchtopk": "batch_topk"}  # during training
FORMS |= {"AutoEncoder": "relu", "AutoEncoderNew": "relu", "GatedAutoEncoder": "gated"}
FORMS |= {"AutoEncoderTopK": "topk", "BatchTopKSAE": "batch_topk"}
FORMS |= {"MatryoshkaBatchTopKSAE": "batch_topk", "JumpReluAutoEncoder": "jump_relu"}
UNCENTRED = ("AutoEncoderNew", "JumpReluAutoEncoder")
UNSCALED = (None, False, "none")
READ = {  # What divides each sample by its own norm cannot be undone from its features alone.
    "normalize_activations": (*UNSCALED, "expected_average_only_in", True),
    "hook_head_index": (None,),  # one head is no site
    "signed": (None, False),
}
OURS = {
    "w_enc": ("encoder.weight", "W_enc"),
    "b_enc": ("encoder.bias", "b_enc", "b_gate", "gate_bias"),
    "w_dec": ("W_dec", "decoder.weight"),
    "b_dec": ("b_dec", "bias", "decoder_bias", "decoder.bias"),
    "log_size": ("r_mag",),
    "b_size": ("b_mag", "mag_bias"),
    "threshold": ("threshold", "topk_threshold"),
}
TURNED = ("W_enc", "decoder.weight")  # their rows are not features
SITES = {"mlp": "mlp.out", "att": "attn.out"}


def read_files(path: Path, site: str | None) -> TrainedDictionary:
    """Return the dictionary of a folder, or of a file in it; a site replaces what is said there."""
    folder, names = (path, FILES) if path.is_dir() else (path.parent, (path.name,))
    here = [name for name in names if (folder / name).exists()]
    if len(here) != 1:
        beside = sorted(at.name for at in folder.iterdir())[:8] if folder.is_dir() else []
        raise NisslError(f"{len(here)} dictionaries are here, among {beside}", do=READABLE)
    file, about = _inside(folder, here[0]), dict[str, Any]()
    if file.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(file, "pt") as opened:
            about = opened.metadata() or {}
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    else:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    for name, x in weights.items():
        # What is stretched in a file could fill the memory.
        if not isinstance(x, Tensor) or x.is_complex() or x.nbytes > x.untyped_storage().nbytes():
            raise NisslError(f"{file.name} has '{name}', which is no plain tensor", do=READABLE)
        if not torch.isfinite(x.float()).all():
            raise NisslError(f"the weights '{name}' are not finite", do="fetch the files again")
    if about.get("format") == FORMAT:
        about = json.loads(about["about"])
        sites = site or " -> ".join(about["sites"])
        how = {"transcodes": bool(about["transcodes"]), "seed": int(about["seed"])}
        return _built(kind_of(about["kind"]), weights, sites, **how)
    said = _json(folder, "config.json" if file.suffix == ".pt" else "cfg.json")
    for name in ("trainer", "metadata", "activation_fn_kwargs"):
        said = {**said, **(said.get(name) or {})}
    return _made(said, {name: x.float() for name, x in weights.items()}, folder, site)


def _inside(folder: Path, name: str) -> Path:
    """Return a file of a folder; links may lead only to what a hub's cache keeps beside it."""
    at, home = (folder / name).resolve(), folder.resolve()
    cached = [above.parent / "blobs" for above in home.parents if above.name == "snapshots"]
    if home not in at.parents and at.parent not in cached:
        raise NisslError(f"{name} is a link out of the folder", do="put the file itself there")
    if not at.is_file():
        raise NisslError(f"there is no file {name}", where=str(folder), do=READABLE)
    return folder / name


def _json(folder: Path, name: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(_inside(folder, name).read_text("utf-8"))
    return said


def _built(kind: Kind, w: dict[str, Tensor], sites: str, **how: Any) -> TrainedDictionary:
    """Return a dictionary of sites "in -> out", with weights as ours are named."""
    (n, width), out = w["w_enc"].shape, w["w_dec"].shape[-1]
    # Seen before as much memory is taken.
    if [w[name].shape for name in ("w_dec", "b_enc", "b_dec")] != [(n, out), (n,), (out,)]:
        what = f"not all weights are of {n} features of {width} units, to {out}"
        raise NisslError(what, do="fetch the files again")
    into, _, to = sites.partition(" -> ")
    made = TrainedDictionary(kind, n, width, site_in=into, site_out=to, width_out=out, **how)
    made.load_state_dict({"silent": made.silent, **w})  # refuses other names and shapes
    return made.eval()


@torch.no_grad()
def _made(
    said: dict[str, Any], w: dict[str, Tensor], folder: Path, site: str | None
) -> TrainedDictionary:
    """Return a dictionary of what a library says of it, in one table, and of its weights."""
    default = "topk" if "encoder.weight" in w else "standard"  # of sparsify and SAELens
    names = ("dict_class", "activation_fn", "activation_fn_str", "activation", "architecture")
    form = next((said[name] for name in names if said.get(name) not in (None, "relu")), default)
    transcodes = form.endswith("transcoder") or bool(said.get("transcode"))
    form = form.removesuffix("transcoder").removesuffix("_") or "standard"
    odd = [f"{name}={said[name]}" for name, read in READ.items() if said.get(name) not in read]
    if form not in FORMS or odd:
        raise NisslError(f"it is {[form, *odd]}, not {', '.join(FORMS)}", do=READABLE)
    kind, k, scale = FORMS[form], w.pop("k", said.get("k")), _scale(said, w, folder)
    for unused in ("group_sizes", "threshold" if kind == "topk" else ""):
        w.pop(unused, None)
    ours = {name: new for new, olds in OURS.items() for name in olds}
    found = {ours.get(name, name): x.T if name in TURNED else x for name, x in w.items()}
    if len(found) < len(w) or not {"w_enc", "b_enc", "w_dec", "b_dec"} <= set(found):
        raise NisslError(f"weights {sorted(w)} are of no known dictionary", do=READABLE)

    (n, width), out = found["w_enc"].shape, found["w_dec"].shape[-1]
    told = {said[name] for name in ("d_sae", "dict_size", "num_latents") if said.get(name)}
    units = said.get("d_in", said.get("activation_dim"))
    if not n or told - {n} or units != width or (out != width and not transcodes):
        what = f"weights of {n} features of {width} units, to {out}; the configuration says "
        raise NisslError(what + f"{[*told]} of {units}", do="fetch them again")
    sites = site or _sites(said, folder, transcodes)
    if transcodes and " -> " not in sites:
        raise NisslError("it writes another site than it reads", do="give site='IN -> OUT'")
    if kind == "topk" and k is None:
        raise NisslError("the configuration does not say k", do="fetch them again")
    if kind == "jump_relu":
        found["log_threshold"] = found.pop("threshold").clamp_min(1e-30).log() / RATE
    chosen = kind_of(kind, k=None if kind in ("relu", "gated") else int(k or 1))
    found |= {"scale": torch.tensor(scale), "scale_out": torch.tensor(scale)}
    made = _built(chosen, found, sites)

    if form == "AutoEncoder" or said.get("rescale_acts_by_decoder_norm"):
        norms = found["w_dec"].norm(dim=-1, keepdim=True)  # in which features are measured
        norms = norms.where(norms > 0, 1)
        made.w_dec /= norms
        made.w_enc *= norms
        made.b_enc *= norms[:, 0]
    centred = said.get("apply_b_dec_to_input", form not in UNCENTRED) and not transcodes
    if bool(centred) == made.transcodes:  # one takes b_dec off what is encoded, the other does not
        moved = (made.w_enc.double() @ made.b_dec.double()).float() * (-1) ** made.transcodes
        made.b_enc += moved
        if kind == "gated":
            made.get_parameter("b_size").add_(moved * made.get_parameter("log_size").exp())
    return made


def _scale(said: dict[str, Any], w: dict[str, Tensor], folder: Path) -> float:
    """Return by what activity is divided; the gains of features go into the decoder's rows."""
    gain = w.pop("scaling_factor", torch.ones(1))  # of versions 2 and 3 of SAELens
    if said.get("finetuning_scaling_factor"):
        w["W_dec"] = w["W_dec"] * gain[:, None]
    elif not torch.allclose(gain, torch.ones(1)):
        raise NisslError("scaling_factor is not one, and cfg.json does not say it is to be used")
    if said.get("normalize_activations") in UNSCALED:
        return 1.0
    if (folder / "activation_scaler.json").exists():
        return float(1 / _json(folder, "activation_scaler.json")["scaling_factor"])
    warnings.warn(
        "cfg.json has activity scaled by its mean norm, and not by what: see net= and sample=",
        stacklevel=6,
    )
    return 1.0


def _sites(said: dict[str, Any], folder: Path, transcodes: bool) -> str:
    """Return the site, of a transcoder "in -> out", or nothing."""
    site, to = said.get("hook_name") or said.get("hook_point") or "", said.get("hook_name_out")
    if "dict_class" in said and said.get("buffer", {}).get("io", "out") == "out":
        at = re.search(r"resid_(pre|mid|post)|mlp|att", str(said.get("submodule_name")))
        site = f"blocks.{said['layer']}.{SITES.get(at[0], at[0])}" if at else ""
    elif not site and re.search(r"\.\d+(\.|$)", name := folder.resolve().name):
        # sparsify names a folder after its module, below the model's head
        site, to = f"{name}:in" if transcodes else name, name
    return f"{site} -> {to}" if transcodes and to else site
