"""Load a network: a specimen, a folder, a GGUF file, a hub id, or any module."""

from __future__ import annotations

import math
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nissl.errors import NisslError, UnknownName, first_line, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch
    from torch import Tensor, nn

    from nissl.network.network import Network
    from nissl.network.sites.architectures.architecture import Architecture

__all__ = ["load"]


def load(
    source: str | Path | nn.Module,
    *,
    tokenizer: Any = None,
    transform: Callable[[Any], Tensor] | None = None,
    architecture: Architecture | None = None,
    device: str | None = None,
    device_map: Any = None,
    dtype: str | torch.dtype = "float32",
    progress: bool = True,
) -> Network:
    """Load a network.

    Parameters
    ----------
    source : str, Path or nn.Module
        The name of a specimen (`nissl specimens`), a folder with ``config.json`` and weights, a
        GGUF file, the id of a model on the hub, or a module.
    tokenizer : optional
        A tokenizer of transformers; by default the one beside the weights.
    transform : callable, optional
        Turns images into the model's input tensor.
    architecture : Architecture, optional
        Where the field's names lie in a module that transformers does not know.
    device : str, optional
        Where to put it: "cpu", "cuda", "cuda:1".
    device_map : optional
        Spread it over devices, as in transformers.
    dtype : str or torch.dtype
        Type of its weights; a module that is given keeps its own. "auto" is float32, or bfloat16
        for a model of transformers where the processor multiplies that much faster: a short probe
        finds out, and says what was chosen.
    progress : bool
        Show what is fetched, and the type that was chosen.

    Returns
    -------
    Network
        In evaluation mode.

    Raises
    ------
    NisslError
        There is no such model, it cannot be fetched, its file is truncated, or some of its weights
        are in no file.

    Examples
    --------
    >>> import torch
    >>> load(torch.nn.Linear(2, 2)).n_parameters
    6
    """
    from torch import nn

    from nissl.network.network import Network

    options: dict[str, Any] = {
        "tokenizer": tokenizer,
        "transform": transform,
        "architecture": architecture,
    }
    if not isinstance(source, (str, Path, nn.Module)):
        raise NisslError(
            f"a {type(source).__name__} is no network",
            do="give a name, a folder, a GGUF file, the id of a model on the hub, or a module",
        )
    if device is not None:
        _check_device(device)
    if isinstance(source, nn.Module):
        model = source if device is None else source.to(device)
        return Network(model, name=type(source).__name__, **options)
    name = str(Path(source).expanduser() if str(source).startswith("~") else source)
    place = {"tokenizer": tokenizer, "device": device, "device_map": device_map, "say": progress}
    found = _specimen(name, progress)
    if isinstance(found, Path):
        model, options["tokenizer"] = _pretrained(found, dtype, **place)
    elif isinstance(found, nn.Module):
        model = found.to(_dtype(dtype))
    elif found is not None:
        model = found.module.to(_dtype(dtype))
        options["transform"] = transform or getattr(found, "transform", None)
        options["tokenizer"] = tokenizer or getattr(found, "tokenizer", None)
    elif Path(name).exists():
        model, options["tokenizer"] = _pretrained(Path(name), dtype, **place)
    else:
        model, options["tokenizer"] = _pretrained(name, dtype, **place)
    if device is not None:
        model = model.to(device)
    return Network(model, name=Path(name).name, **options)


def _check_device(device: str) -> None:
    """Refuse a device that is not there, before anything is fetched for it."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise NisslError(
            f"the device '{device}' cannot be used: {str(error).splitlines()[0]}",
            do="leave device out, or give 'cpu'",
        ) from error


def _specimen(name: str, progress: bool) -> Any:
    """Return what a specimen of this name loads to, or None where there is none."""
    from nissl import specimens
    from nissl.specimens.read import looks_like_a_path

    if Path(name).exists():
        return None
    if looks_like_a_path(name):
        raise NisslError(
            f"there is no such file or folder: {name}",
            where=str(Path(name).absolute()),
            do="check the name; `nissl specimens` lists the networks that can be had by name",
        )
    if name not in (known := specimens.specimens()["name"].tolist()):
        # Nothing near is a model of the hub, which has some that go by one word, such as gpt2.
        if "/" in name or not nearest(name, known, cutoff=0.8):
            return None
        raise UnknownName(
            "specimen", name, known, do="`nissl specimens` lists them; of the hub, give owner/model"
        )
    specimen = specimens.specimen(name)
    if specimen.kind not in ("language", "vision", "circuit", "other"):
        raise NisslError(
            f"'{name}' is a specimen of kind {specimen.kind}, not a network",
            do=f"nissl.read('{name}') opens it",
        )
    found = specimens.load(name, progress=progress)
    if isinstance(found, dict):
        raise NisslError(
            f"'{name}' is {len(found)} networks: {', '.join(map(str, found))}",
            do=f"nissl.load(nissl.read('{name}')['{next(iter(found))}'])",
        )
    return found


def _pretrained(
    source: str | Path,
    dtype: str | torch.dtype,
    *,
    tokenizer: Any,
    device: str | None,
    device_map: Any,
    say: bool,
) -> tuple[nn.Module, Any]:
    import transformers

    from nissl.specimens.gguf_files import open_gguf

    # Code that lies beside weights is never run, nor asked about on the terminal.
    where, extra, unreached = str(source), dict[str, Any](trust_remote_code=False), ""
    if isinstance(source, Path):
        if source.suffix == ".gguf":
            open_gguf(source)
            where, extra["gguf_file"] = str(source.parent), source.name
        elif not (source / "config.json").exists():
            raise NisslError(
                "the folder has no config.json, so it is not a model"
                if source.is_dir()
                else "this file is no network",
                where=where,
                do="give a folder with config.json and weights, as save_pretrained writes it; or a"
                " GGUF file",
            )
    elif unreached := _unreached_hub():
        # Asked all the same, it would be asked six times for each file, half a minute long.
        extra["local_files_only"] = True
    try:
        config = transformers.AutoConfig.from_pretrained(where, **extra)
        kind = _class_of(transformers, config)
        if isinstance(source, Path):
            _require_room(kind, config, source)
        number = _probed(config, device, say=say) if dtype == "auto" else _dtype(dtype)
        with _quiet(transformers):
            model, found = kind.from_pretrained(
                where, dtype=number, device_map=device_map, output_loading_info=True, **extra
            )
    except NisslError:
        raise
    except Exception as error:  # a damaged config.json raises anything
        raise NisslError(
            f"the hub cannot be reached ({unreached}), and the model is not in its cache"
            if unreached
            else f"the model cannot be loaded: {first_line(error)}",
            where=where,
            do="fetch the model again, if a file is truncated"
            if isinstance(source, Path)
            else "give the id as the hub writes it, mostly owner/model; without a connection, a"
            " folder or one of `nissl specimens`",
        ) from error
    _require_whole(found, str(source))
    if tokenizer is None:
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(where, **extra)
        except Exception:
            tokenizer = None  # vision models have none; text will say so
    return model, tokenizer


def _unreached_hub() -> str:
    """Tell why the hub does not answer; empty where it does."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        answer = get_session().head(constants.ENDPOINT, timeout=10)
    except Exception as error:  # of the library that huggingface_hub happens to use
        return f"{constants.ENDPOINT}: {first_line(error)}"
    return f"{constants.ENDPOINT}: {answer.status_code}" if answer.status_code >= 500 else ""


def _require_whole(found: Mapping[str, Any], where: str) -> None:
    """Refuse a model of which some weights were not in its files: they would be random."""
    missing = sorted(map(str, found["missing_keys"]))
    if missing:
        raise NisslError(
            f"{len(missing)} weights of the model are in none of its files: "
            + ", ".join(missing[:3])
            + ", ..." * (len(missing) > 3),
            where=where,
            do="fetch the model again; or look whether config.json asks for more than was trained",
        )
    unused = sorted(map(str, found["unexpected_keys"]))
    if unused:
        warnings.warn(
            f"{where}: {len(unused)} weights are of no part of the model that config.json"
            f" describes, and are left out: {', '.join(unused[:3])}" + ", ..." * (len(unused) > 3),
            stacklevel=4,
        )


def _require_room(kind: Any, config: Any, source: Path) -> None:
    """Refuse a configuration of far more weights than the files can hold, before any is made."""
    import torch

    files = [source] if source.is_file() else [p for p in source.rglob("*") if p.is_file()]
    there = sum(p.stat().st_size for p in files)
    sizes = (getattr(config, name, None) or 1 for name in ("num_hidden_layers", "hidden_size"))
    stated = math.prod(size for size in sizes if isinstance(size, int))
    if stated <= 10 * there:
        with torch.device("meta"):
            make = getattr(kind, "_from_config", None) or kind.from_config
            stated = sum(p.numel() for p in make(config).parameters())
    if stated > 10 * there:  # no format has less than a tenth of a byte for a weight
        raise NisslError(
            f"config.json describes {stated:,} weights or more, and the files hold {there:,} bytes",
            where=str(source),
            do="fetch the model again",
        )


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without the bars of transformers, which count tensors that load in a blink."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _class_of(transformers: Any, config: Any) -> Any:
    """The class the weights were saved from, so that its head is kept."""
    for name in getattr(config, "architectures", None) or ():
        if hasattr(transformers, name):
            return getattr(transformers, name)
    causal = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return (
        transformers.AutoModelForCausalLM if config.model_type in causal else transformers.AutoModel
    )


def _probed(config: Any, device: str | None, *, say: bool) -> torch.dtype:
    """Return the faster type for a model of transformers, and say which it is."""
    import sys

    from nissl.network.precision import faster_dtype

    width = getattr(config, "hidden_size", None) or 1024
    chosen, ratio = faster_dtype(
        width, getattr(config, "intermediate_size", None) or 4 * width, device=device
    )
    if say:
        print(
            f"computing in {str(chosen).removeprefix('torch.')}: bfloat16 is multiplied "
            f"{ratio:.1f} times as fast as float32 here (dtype= or --dtype to choose)",
            file=sys.stderr,
        )
    return chosen


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    import torch

    dtype = "float32" if dtype == "auto" else dtype
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype):
        raise NisslError(
            f"there is no number type '{dtype}'", do="float32, float64, bfloat16 or float16"
        )
    return found
