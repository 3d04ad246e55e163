"""Make docs/sites.md from the architectures that the library knows; run it as a script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSpeechSeq2Seq,
)

from nissl.cli.printing import markdown
from nissl.network import Network, conformance
from nissl.network.sites.architectures.architecture import Architecture
from nissl.network.sites.architectures.decoders import DECODERS
from nissl.network.sites.architectures.encoder_decoders import ENCODER_DECODERS
from nissl.network.sites.architectures.gpt import GPT
from nissl.network.sites.architectures.known import ARCHITECTURES
from nissl.network.sites.architectures.mixtures import MIXTURES
from nissl.network.sites.architectures.state_space import STATE_SPACE
from nissl.network.sites.attention import Pattern, Rotated
from nissl.network.sites.experts import Expert, Router
from nissl.network.sites.hook_points import FusedPart, Heads, Input, Output, ResidMid
from nissl.network.sites.site import sites_of

MEANINGS = {
    "embed": ("what enters the first block", "d_model"),
    "resid_pre": ("the residual stream as the block reads it", "d_model"),
    "resid_mid": ("the residual stream between attention and MLP", "d_model"),
    "resid_post": ("the residual stream as the block leaves it", "d_model"),
    "attn.q": ("queries as projected", "heads x d_head"),
    "attn.k": ("keys as projected", "key heads x d_head"),
    "attn.v": ("values as projected", "key heads x d_head"),
    "attn.q_rot": ("queries as the attention scores see them", "heads x d_head"),
    "attn.k_rot": ("keys as the attention scores see them", "key heads x d_head"),
    "attn.pattern": (
        "attention, to be read by `run` and written; not a Recording",
        "query, head, key",
    ),
    "attn.z": ("what each head reads out, before the output projection", "heads x d_head"),
    "attn.heads": ("what each head adds to the residual stream", "heads x d_model"),
    "attn.out": ("what attention adds to the residual stream, after any post-norm", "d_model"),
    "cross.q": ("a decoder's queries to its encoder, as projected", "heads x d_head"),
    "cross.k": ("keys at the encoder's tokens", "heads x d_head"),
    "cross.v": ("values at the encoder's tokens", "heads x d_head"),
    "cross.pattern": ("which of the encoder's tokens are read", "query, head, key"),
    "cross.z": ("what each head reads of the encoder", "heads x d_head"),
    "cross.heads": ("what each of these heads adds to the residual stream", "heads x d_model"),
    "cross.out": ("what reading the encoder adds to the residual stream", "d_model"),
    "resid_cross": ("the residual stream between reading the encoder and MLP", "d_model"),
    "mlp.gate": ("the gate, before its nonlinearity", "d_mlp"),
    "mlp.up": ("what is gated; in a plain MLP, before the nonlinearity", "d_mlp"),
    "mlp.neurons": ("what the output matrix reads", "d_mlp"),
    "mlp.out": ("what the MLP adds to the residual stream, after any post-norm", "d_model"),
    "mixer.neurons": ("what the output matrix of a state-space mixer reads", "d_inner"),
    "mixer.out": ("what the mixer adds to the residual stream", "d_model"),
    "moe.router": ("scores of the experts, from which choice and weights follow", "experts"),
    "moe.experts[e].neurons": (
        "what an expert's output matrix reads; NaN where it was not called",
        "d_expert",
    ),
    "moe.shared.gate": ("the gate of the experts that every token calls", "d_shared"),
    "moe.shared.up": ("what is gated in them", "d_shared"),
    "moe.shared.neurons": ("what their output matrix reads", "d_shared"),
    "final_norm": ("the output of the last norm", "d_model"),
    "logits": ("what the unembedding gives", "vocabulary"),
}

HEAD = """# Sites

A site is a named place of a network at which activity is recorded and changed. Names are those of
the field, once for all blocks (`mlp.neurons`), for one (`blocks.3.mlp.neurons`), or with a glob
(`blocks.*.attn.out`). Hooks' names of TransformerLens are accepted as aliases. `nissl sites
NETWORK` lists the sites of any network with their widths.

Any module path is a site as well: `layer3.0.conv2` is the output of that module,
`layer3.0.conv2:in` what it is given, and `lstm:0` an item of what it returns. In a convolution
map a unit is a channel and a sample is a place in an image.

Where items and units lie follows from the kind of module and its flags (`batch_first`), and for a
module that only passes a tensor on, such as a nonlinearity, from how the tensor was made. Where it
cannot be told, that is an error, and `net.set_unit_axis(site, axis)` says it. A module shared by
several places is told by the place; one called several times there is read as several calls, and
edited at each. Sites of an encoder-decoder are read at the tokens of their own side; what its
decoder reads is given as `decoder_input_ids`. Projections wrapped by adapters (LoRA) have the heads
and the weights of what the wrapped modules add. `run`, `record` and `generate` read a model as it
is used, without dropout, whatever mode it is in.

Every tensor has the shape (batch, position, width). These identities hold, and are tested on
every architecture: the output matrix times `mlp.neurons`, and its bias, is `mlp.out` before any
post-norm; `resid_pre + attn.out = resid_mid`; `resid_mid + mlp.out = resid_post`; the
`attn.heads` add up to `attn.out` but for its bias. Where the stream itself is normed after each
addition (BERT, MPNet), the norm of the sum is what comes next. Where attention and MLP read the
same stream (GPT-NeoX, Cohere, Phi) there is no `resid_mid`. Where a block multiplies what it adds
(Granite) `attn.out`, `attn.heads`, `mlp.out` and the output weights have the factor, as the
unembedding has that of the logits. Where projections are clipped (OLMo), `attn.q`, `attn.k` and
`attn.v` are what they were before. Where what is added passes a layer scale (DINOv2), it is counted
as a post-norm. CLIP's vision norms the class token alone at its end, so it has no `final_norm`.
ConvNeXt and Swin have their blocks in stages: layers count over all of them, widths differ, and
between two stages the stream is made anew, so that a `resid_post` is the next `resid_pre` within a
stage alone. A block of ConvNeXt has an MLP, which reads a convolution of the stream, and no
attention; its layer scale is in `mlp.out` and the output weights. Swin attends inside windows,
which are rows of a batch of their own, so of its attention `attn.out` alone has a name. BEiT has
module paths alone, since its layer scales are no modules. MPNet and DeBERTa compute attention where
nothing is called by name, so they have neither `attn.pattern` nor `attn.q_rot`. ALBERT calls one
block for all of its layers, so that its sites are module paths, whose calls follow one another.

An encoder-decoder has two stacks with names of their own: `encoder.blocks.3.mlp.neurons`,
`decoder.blocks.3.mlp.neurons`. A name without a block (`mlp.neurons`) means all of both, in the
order of computation, `decoder.mlp.neurons` those of one; `layer` counts in each stack. A decoder
reads its encoder between attention and MLP: `resid_mid + cross.out = resid_cross`, and
`resid_cross + mlp.out = resid_post`. `cross.k` and `cross.v` are read at the tokens of the encoder.
What BART, Marian, mBART and Pegasus count as positions cannot be told to them, so texts of
different lengths are filled up on the right.

This page is made from the library by `python docs/make_sites.py`.

## Addresses

Whatever can be scored has an address, which `net.find` and the edits understand:

| address | what it names |
|---|---|
| `blocks.3.mlp.neurons[812]`, `layer3.0.conv2[5]` | a unit |
| `blocks.5.resid_post.sae[77]` | a feature, which is a unit of its dictionary's site |
| `blocks.1.moe.experts[3].neurons[7]` | a unit of an expert |
| `blocks.3.attn.z[head 5]` | a head |
| `blocks.3` | a layer: what its attention and its MLP add to the residual stream |
| `decoder.blocks.1.cross.z[head 2]` | a head by which a decoder reads its encoder |
| `blocks.3.attn.out` | a whole site |
| `blocks.1.attn.z[head 2] -> blocks.4.attn.q[head 3]` | an edge |

They may be mixed: `net.edit(nissl.ablate(["blocks.3", "blocks.5.attn.z[head 2]"]))`. So may the
rows of a Finding: `net.edit(nissl.ablate(found.top(5)))` ablates units, heads or layers alike.
Values given in the order of the addresses hold for all of a head, a layer or a site. `net.find`
returns a site, or for the rest a part with its `kind` and its `pieces` (which units of which
sites). `run` and `record` are given sites. Edges can be named and found, not yet edited.

## What the names mean

"""
HOLDS = """

## What holds

`nissl check NETWORK`, or `nissl.network.conformance(net, inputs)`, proves on a network what is
promised of every one. Here it was put to a small random model of each type; "-" is where a check
does not apply.

"""
SMALL = {
    "num_hidden_layers": 1,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 64,
    "head_dim": 8,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "first_k_dense_replace": 0,
    "num_local_experts": 2,
    "num_experts": 2,
    "num_experts_per_tok": 1,
    "n_routed_experts": 4,
    "n_group": 2,
    "topk_group": 1,
    "ffn_dim": 32,
    "word_embed_proj_dim": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
    "num_stages": 2,
    "embed_dim": 12,  # Swin's heads are 3 and 6
    "window_size": 2,
    "decoder_layers": 1,
    "num_decoder_layers": 1,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "d_ff": 32,
    "decoder_start_token_id": 1,
    "num_mel_bins": 5,
    "max_source_positions": 8,
    "image_size": 16,
    "patch_size": 8,
    "rotary_dim": 4,
    "ffn_hidden_size": 32,
    "num_kv_heads": 2,
    "n_inner": 32,
    "state_size": 4,
    "num_heads": 4,
    "n_groups": 1,
    "chunk_size": 4,
    "time_step_rank": 2,
}


def page() -> str:
    """Return the whole page."""
    names = [
        {"site": f"`{name}`", "what it is": what, "width": width}
        for name, (what, width) in MEANINGS.items()
    ]
    parts = [HEAD, markdown(names), HOLDS, markdown(conforming()), "\n\n## Where they lie\n"]
    for architecture in ARCHITECTURES:
        parts.append(
            f"\n### {architecture.name}\n\nModels of type "
            f"{', '.join(f'`{t}`' for t in architecture.model_types)}.\n\n"
        )
        for stack in architecture.stacks:
            parts.append(f"`{stack.prefix}blocks`:\n\n" if architecture.then else "")
            parts.append(
                markdown(rows_of(architecture, stack)) + "\n" * (1 + bool(architecture.then))
            )
    return "".join(parts)


def conforming() -> list[dict[str, Any]]:
    """Return a row for each type of model: which checks hold on a small random one."""
    rows = []
    for architecture in ARCHITECTURES:
        for kind in architecture.model_types:
            torch.manual_seed(0)
            table = conformance(
                Network(model_of(architecture, kind, num_hidden_layers=2)), progress=False
            )
            results = zip(table["check"], table["result"], strict=True)
            said = {c: "-" if r == "not applicable" else str(r) for c, r in results}
            flag = f", `{architecture.flag}`" if architecture.flag else ""
            rows.append({"type": f"`{kind}`{flag}", **said})
    return rows


def rows_of(architecture: Architecture, stack: Architecture) -> list[dict[str, Any]]:
    """Return a row for each site of one block of a stack, and for those outside of blocks."""
    rows = {}
    for name, site in sites_of(smallest(architecture), architecture).items():
        if not name.startswith(stack.prefix) and name != "logits":
            continue
        short = name.removeprefix(stack.prefix).removeprefix("blocks.0.")
        short = short.replace("experts[0]", "experts[e]")
        if "experts[1]" not in short:
            rows[short] = {"site": f"`{short}`", "tensor": where(site.hook_point, stack)}
    return [rows[name] for name in MEANINGS if name in rows]


def smallest(architecture: Architecture) -> Any:
    """Build a model of the architecture that has shapes and no numbers."""
    with torch.device("meta"):
        return model_of(architecture, architecture.model_types[0])


def model_of(architecture: Architecture, kind: str, **more: Any) -> Any:
    """Build a small model of a type."""
    more |= {"patch_size": 4} if kind == "swin" else {}  # or its last map is less than a window
    config: Any = AutoConfig.for_model(kind, **more)
    for name, value in (SMALL | more).items():
        staged = isinstance(getattr(config, name, None), (list, tuple))
        if (
            hasattr(config, name)
            and not isinstance(getattr(type(config), name, None), property)
            and (not staged or isinstance(value, list))
        ):
            setattr(config, name, value)
    if architecture.flag:
        setattr(config, architecture.flag, True)
    maker: Any = AutoModel
    if architecture in (*DECODERS, *GPT, *MIXTURES, *STATE_SPACE):
        maker = AutoModelForCausalLM
    elif architecture in ENCODER_DECODERS:
        maker = AutoModelForSpeechSeq2Seq if kind == "whisper" else AutoModelForSeq2SeqLM
    return maker.from_config(config)


def where(point: Any, architecture: Architecture) -> str:
    """Say which tensor a hook point reaches."""
    short = short_path(point.path, architecture)
    path = short if short.startswith("the ") else f"`{short}`"
    match point:
        case Output(item=None):
            return f"output of {path}"
        case Output(item=item):
            return f"output of {path}, item `{item}`"
        case Input():
            return f"input of {path}"
        case FusedPart(index=index, of=of):
            return f"part {index + 1} of {of} of the output of {path}"
        case ResidMid():
            return f"what {path} reads"
        case Heads():
            return f"each head's share of the output of {path}"
        case Rotated(which=which):
            return f"the {which} as {path} hands it to the attention function"
        case Pattern():
            return f"the attention of {path}"
        case Router():
            return f"scores that `{short_path(point.path, architecture)}` returns"
        case Expert():
            return f"the hidden activity of an expert of {path}"
    raise TypeError(f"a hook point without words: {point}")


def short_path(path: str, architecture: Architecture) -> str:
    """Leave out the path of the block, which is the same for all."""
    if not path:
        return "the model"
    mark = f"{architecture.blocks.replace('*', '0')}.0"
    return path.split(mark, 1)[1].lstrip(".") or "the block" if mark in path else path


if __name__ == "__main__":
    Path(__file__).with_name("sites.md").write_text(page(), encoding="utf-8")
