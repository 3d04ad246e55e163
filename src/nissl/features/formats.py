"""What the files of a trained dictionary say: SAELens, dictionary_learning, sparsify, and ours."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.features.dictionary import FORMAT, TrainedDictionary, load_dictionary
from nissl.features.kinds.jump_relu import RATE
from nissl.features.kinds.kind import kind_of

__all__ = ["READABLE", "read_files"]

FILES = ("sae_weights.safetensors", "sae.safetensors", "ae.pt")
READABLE = (
    "give a folder of SAELens (cfg.json, sae_weights.safetensors: standard, gated, topk, jumprelu, "
    "transcoders), dictionary_learning (config.json, ae.pt) or sparsify (cfg.json, sae.safetensors:"
    " topk), without skip connections, or a file that TrainedDictionary.save wrote"
)
SAELENS = {"standard": "relu", "gated": "gated", "topk": "topk", "jumprelu": "jump_relu"}
SAELENS |= {"batchtopk": "batch_topk", "matryoshka_batchtopk": "batch_topk"}  # during training
LEARNING = {"AutoEncoder": "relu", "AutoEncoderNew": "relu", "GatedAutoEncoder": "gated"}
LEARNING |= {"AutoEncoderTopK": "topk", "BatchTopKSAE": "batch_topk"}
LEARNING |= {"MatryoshkaBatchTopKSAE": "batch_topk", "JumpReluAutoEncoder": "jump_relu"}
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


class _About(NamedTuple):
    """What a configuration says."""

    kind: str
    k: Any
    sizes: tuple[Any, Any]  # features and units
    site: str  # of a transcoder "in -> out"
    centred: bool = True  # the decoder's bias is taken off what is encoded
    transcodes: bool = False
    scale: float = 1.0
    unit_rows: bool = False  # features are in units of the decoder's rows


def read_files(path: Path, site: str | None = None) -> TrainedDictionary:
    """Return the dictionary of a folder, or of a file of weights; no code in it is run.

    Parameters
    ----------
    path : Path
        Which.
    site : str, optional
        Its site, in place of what the files say.

    Returns
    -------
    TrainedDictionary
        In evaluation mode.

    Raises
    ------
    NisslError
        Or any other error, where a file is damaged.
    """
    folder, names = (path, FILES) if path.is_dir() else (path.parent, (path.name,))
    here = [name for name in names if (folder / name).exists()]
    if len(here) != 1:
        beside = sorted(at.name for at in folder.iterdir())[:8] if folder.is_dir() else []
        raise NisslError(f"{len(here)} dictionaries are here, among {beside}", do=READABLE)
    file = _inside(folder, here[0])
    if ours := file.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(file, "pt") as opened:
            ours = (opened.metadata() or {}).get("format") == FORMAT
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    else:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    for name, x in weights.items():
        # What is stretched in a file could fill the memory.
        if not isinstance(x, Tensor) or x.is_complex() or x.nbytes > x.untyped_storage().nbytes():
            raise NisslError(f"{file.name} has '{name}', which is no plain tensor", do=READABLE)
        if not torch.isfinite(x.float()).all():
            raise NisslError(f"the weights '{name}' are not finite", do="fetch the files again")
    if ours:
        made = load_dictionary(file)
        if site is not None:
            made.site_in, _, to = site.partition(" -> ")
            made.site_out = to or made.site_in
        return made
    said = _json(folder, "config.json" if file.suffix == ".pt" else "cfg.json")
    w = {name: x.float() for name, x in weights.items()}
    if "trainer" in said:
        about = _learning(said, w)
    else:
        about = _sparsify(said, folder) if "encoder.weight" in w else _saelens(said, w, folder)
    renamed = {}
    for name, x in w.items():
        new = next((new for new, olds in OURS.items() if name in olds), name)
        renamed[new] = x.T if name in TURNED else x
    if len(renamed) < len(w) or not {"w_enc", "b_enc", "w_dec", "b_dec"} <= set(renamed):
        raise NisslError(f"weights {sorted(w)} are of no known dictionary", do=READABLE)
    return _made(about, renamed, site)


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


def _saelens(said: dict[str, Any], w: dict[str, Tensor], folder: Path) -> _About:
    said = {**said, **said.get("metadata", {})}  # since version 6
    form = said.get("architecture") or "standard"
    transcodes = form.endswith("transcoder")
    form = form.removesuffix("transcoder").removesuffix("_") or "standard"
    active = said.get("activation_fn") or said.get("activation_fn_str") or "relu"
    form = form if active == "relu" else active  # before version 6
    norm = said.get("normalize_activations") or "none"
    if form not in SAELENS or norm not in ("none", "expected_average_only_in", True):
        # What divides each sample by its own norm cannot be undone from its features alone.
        raise NisslError(f"it is of SAELens: {form}, normalized by {norm}", do=READABLE)
    if said.get("hook_head_index") is not None:
        raise NisslError("it is of one attention head, which is no site", do=READABLE)
    gain = w.pop("scaling_factor", torch.ones(1))  # of versions 2 and 3
    if said.get("finetuning_scaling_factor"):
        w["W_dec"] = w["W_dec"] * gain[:, None]
    elif not torch.allclose(gain, torch.ones(1)):
        raise NisslError("scaling_factor is not one, and cfg.json does not say it is to be used")
    scale = 1.0
    if norm != "none" and (folder / "activation_scaler.json").exists():
        scale = 1 / _json(folder, "activation_scaler.json")["scaling_factor"]
    elif norm != "none":
        warnings.warn(
            "cfg.json has activity scaled by its mean norm, and not whether the weights are: they "
            "are taken as they are, as SAELens does; net= and sample= show whether they fit",
            stacklevel=4,
        )
    hook, to = said.get("hook_name") or said.get("hook_point") or "", said.get("hook_name_out")
    return _About(
        SAELENS[form],
        said.get("k") or (said.get("activation_fn_kwargs") or {}).get("k"),
        (said.get("d_sae"), said["d_in"]),
        f"{hook} -> {to}" if transcodes and to else hook,
        bool(said.get("apply_b_dec_to_input", True)) and not transcodes,
        transcodes,
        scale,
        bool(said.get("rescale_acts_by_decoder_norm")),
    )


def _learning(said: dict[str, Any], w: dict[str, Tensor]) -> _About:
    about, name = said["trainer"], said["trainer"]["dict_class"]
    if name not in LEARNING:
        raise NisslError(f"it is of dictionary_learning: {name}", do=READABLE)
    k = w.pop("k", about.get("k"))
    w.pop("group_sizes", None)  # of training alone
    if name == "AutoEncoderTopK":
        w.pop("threshold", None)
    site = re.search(r"resid_(pre|mid|post)|mlp|att", str(about.get("submodule_name")))
    site = site if said.get("buffer", {}).get("io", "out") == "out" else None
    at = {"mlp": "mlp.out", "att": "attn.out"}.get(site[0], site[0]) if site else ""
    return _About(
        LEARNING[name],
        k,
        (about["dict_size"], about["activation_dim"]),
        at and f"blocks.{about['layer']}.{at}",
        centred=name not in ("AutoEncoderNew", "JumpReluAutoEncoder"),
        unit_rows=name == "AutoEncoder",  # as from_pretrained has it
    )


def _sparsify(said: dict[str, Any], folder: Path) -> _About:
    if said.get("activation", "topk") != "topk" or said.get("signed"):
        raise NisslError("it is of sparsify, and not topk", do=READABLE)
    n = said.get("num_latents") or said["d_in"] * said["expansion_factor"]
    # A folder is named after its module, below the model's head.
    site, to = folder.resolve().name, bool(said.get("transcode"))
    site = site if re.search(r"\.\d+(\.|$)", site) else ""
    named = f"{site}:in -> {site}" if site and to else site
    return _About("topk", said["k"], (n, said["d_in"]), named, not to, to)


def _made(about: _About, w: dict[str, Tensor], site: str | None) -> TrainedDictionary:
    (n, width), out = w["w_enc"].shape, w["w_dec"].shape[-1]
    fits = all(told in (None, x) for told, x in zip(about.sizes, (n, width), strict=True))
    if not fits or not n or (out != width and not about.transcodes):
        what = f"weights of {n} features of {width} units, to {out}; the configuration says "
        raise NisslError(what + f"{about.sizes[0]} of {about.sizes[1]}", do="fetch them again")
    if about.unit_rows:
        norms = w["w_dec"].norm(dim=-1, keepdim=True)
        norms = norms.where(norms > 0, 1)
        w |= {"w_dec": w["w_dec"] / norms, "w_enc": w["w_enc"] * norms}
        w["b_enc"] = w["b_enc"] * norms[:, 0]
    into, _, to = (site or about.site).partition(" -> ")
    if about.transcodes and not to:
        raise NisslError("it writes another site than it reads", do="give site='IN -> OUT'")
    if about.kind == "topk" and about.k is None:
        raise NisslError("the configuration does not say k", do="fetch them again")
    made = TrainedDictionary(
        kind_of(about.kind, k=None if about.kind in ("relu", "gated") else int(about.k or 1)),
        n,
        width,
        site_in=into,
        site_out=to,
        width_out=out,
        transcodes=bool(to),
    )
    if about.kind == "jump_relu":
        w["log_threshold"] = w.pop("threshold").clamp_min(1e-30).log() / RATE
    if about.centred == made.transcodes:  # one takes b_dec off what is encoded, the other does not
        moved = (w["w_enc"].double() @ w["b_dec"].double()).float() * (-1) ** made.transcodes
        w["b_enc"] = w["b_enc"] + moved
        if "b_size" in w:
            w["b_size"] = w["b_size"] + moved * w["log_size"].exp()
    w |= {"scale": torch.tensor(about.scale), "scale_out": torch.tensor(about.scale)}
    state = {**made.state_dict(), **w}
    for name, x in made.state_dict().items():
        if state[name].shape != x.shape or (name not in w and name != "silent"):
            what = f"the weights {name} are missing or {[*state[name].shape]}, not {[*x.shape]}"
            raise NisslError(what, do=READABLE)
    made.load_state_dict(state)
    return made.eval()
