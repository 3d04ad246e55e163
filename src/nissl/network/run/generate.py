"""Generate text with a language model, edits in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from nissl.errors import NisslError
from nissl.network.run.caches import check_cache
from nissl.network.run.calls import sequence_call
from nissl.network.run.inputs import read_inputs, special_tokens
from nissl.network.run.padding import UNMASKED
from nissl.network.run.windows import single_windows
from nissl.network.sites.batch import encoder_path
from nissl.network.sites.modes import evaluated

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork

__all__ = ["generate"]

# Options of transformers that would change what is returned, or mean another's thing.
REFUSED = {
    "return_dict_in_generate": "call net.model.generate, which returns more than text",
    "max_length": "give max_new_tokens=, which does not count the prompt",
    "do_sample": "give sample=",
    "attention_mask": "give what the tokenizer returns as the prompt",
    "input_ids": "give token ids as the prompt",
    "inputs_embeds": "give token ids as the prompt",
}
REFUSED |= {
    f"output_{what}": "net.run and record give it, or call net.model.generate"
    for what in ("scores", "logits", "attentions", "hidden_states")
}


def generate(
    net: BaseNetwork,
    prompt: Any,
    *,
    max_new_tokens: int = 20,
    sample: bool = False,
    temperature: float = 1.0,
    seed: int = 0,
    use_cache: bool = True,
    **options: Any,
) -> Any:
    """Continue prompts: see `Network.generate`.

    Parameters
    ----------
    net : Network
        A language model.
    prompt : text, texts, chats, token ids, encoding of a tokenizer, or DataFrame
        What is to be continued.
    max_new_tokens : int
        Tokens to generate at most.
    sample : bool
        Draw each token; otherwise the likeliest is taken.
    temperature : float
        Of the draws.
    seed : int
        Of the draws.
    use_cache : bool
        Keep keys and values of what was read.
    **options
        For ``generate`` of transformers.

    Returns
    -------
    str, list of str, or list of list of int
        What comes after the prompt: text for a text or chat, texts for several, ids for ids.

    Raises
    ------
    NisslError
        The model does not generate, or has no tokenizer for a text.
    """
    if not hasattr(net.model, "generate"):
        raise NisslError(
            f"{type(net.model).__name__} does not generate", do="load a causal language model"
        )
    for name, instead in REFUSED.items():
        if name in options:
            raise NisslError(f"`{name}` is not an option here", do=instead)
    given = read_inputs(net, prompt, reply=True)
    if not given.documents:
        raise NisslError("there is no prompt", do="give text, chat messages or token ids")
    sides = encoder_path(net.model) is not None
    # With `edit_batch` in force every copy says something else, and must read what it said.
    copying = [
        edit for block in net.edit_blocks for edit in block.edits if hasattr(edit, "given_copies")
    ]
    ids = single_windows(net, given).ids
    if not sides:
        # A token that ends texts would end the answer before it begins.
        ids = [special_tokens(net).without_end(row) for row in ids]
    for edit in copying:
        ids = ids * edit.n_copies
    longest = 0 if sides else max(map(len, ids))
    if net.context and longest + max_new_tokens > net.context:
        raise NisslError(
            f"{longest} tokens of prompt and {max_new_tokens} new ones are beyond the "
            f"model's context of {net.context}",
            do="shorten one of them",
        )
    # An encoder is not gone on from, and may count positions from the left.
    call = sequence_call(net, ids, padding="right" if sides else "left", encoder=sides)
    rows = call.kwargs["input_ids"]
    mask = torch.ones_like(rows) if call.mask is None else call.mask.long()
    kind = getattr(getattr(net.model, "config", None), "model_type", None)
    if kind in UNMASKED and use_cache and len(rows) > 1:
        raise NisslError(
            f"{type(net.model).__name__} of transformers mixes the items of a batch where it goes "
            "on from their states",
            do="give one prompt at a time, or use_cache=False",
        )
    ends = _ends(net, options.get("eos_token_id"))
    check_cache(net, options.get("past_key_values"))
    draws: dict[str, Any] = {"do_sample": sample, "num_beams": 1}
    draws |= {"temperature": temperature, "top_k": 0} if sample else _no_draws()
    if net.padding_token is not None and not sides:
        # By the model's own rule, not from 0 as `generate` of transformers has it.
        draws["position_ids"] = (mask.cumsum(-1) + net.padding_token) * mask + (
            1 - mask
        ) * net.padding_token
    begun = options.get("decoder_input_ids")
    n_read = rows.shape[1] if not sides else 1 if begun is None else begun.shape[1]
    lengths = torch.full_like(mask[:, 0], n_read) if sides else mask.sum(1)
    net.prompt_lengths.append(lengths)
    for edit in copying:
        edit.given_copies = True
    try:
        with evaluated(net.model), torch.random.fork_rng(devices=_devices(net)):
            torch.manual_seed(seed)
            model: Any = net.model
            out = model.generate(
                rows,
                attention_mask=mask,
                max_new_tokens=max_new_tokens,
                use_cache=use_cache,
                **{"pad_token_id": _pad(net, ends), **draws, **options},
            )
    except (ValueError, TypeError) as error:
        raise NisslError(
            f"{type(net.model).__name__} does not generate so: {str(error).splitlines()[0]}",
            do="net.generate(prompt, max_new_tokens=, sample=, ...) passes options to transformers",
        ) from error
    finally:
        net.prompt_lengths.pop()
        for edit in copying:
            edit.given_copies = False
    new = [_until_end(ends, row) for row in out[:, n_read:].tolist()]
    if not given.text:
        return new
    said = [net.require_tokenizer().decode(row, skip_special_tokens=True) for row in new]
    return said[0] if given.one and len(said) == 1 else said


def _no_draws() -> dict[str, Any]:
    # A model's own settings for drawing would only be warned about.
    return {"temperature": None, "top_p": None, "top_k": None}


def _pad(net: BaseNetwork, ends: list[int]) -> int:
    config = getattr(net.model, "generation_config", None)
    for found in (
        getattr(net.tokenizer, "pad_token_id", None),
        getattr(config, "pad_token_id", None),
        *ends,
    ):
        if found is not None:
            return int(found)
    return 0


def _ends(net: BaseNetwork, asked: Any) -> list[int]:
    """Return the tokens that end an answer."""
    config = getattr(net.model, "generation_config", None)
    end = getattr(config, "eos_token_id", None) if asked is None else asked
    return [] if end is None else [end] if isinstance(end, int) else list(end)


def _until_end(ends: list[int], row: list[int]) -> list[int]:
    """Cut a row after its end-of-text token: what follows is padding."""
    first = next((i for i, token in enumerate(row) if token in ends), None)
    return row if first is None else row[: first + 1]


def _devices(net: BaseNetwork) -> list[torch.device]:
    return [net.device] if net.device.type == "cuda" else []
