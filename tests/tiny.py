"""Small networks with random weights, one of every architecture, for tests in milliseconds.

``from tiny import tiny`` in a test: ``tiny("llama")`` is a model of transformers,
``tiny("conv")`` one of plain torch. Weights are the same each time (seed 0). Biases and norms are
random too, since a zero bias hides mistakes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

ROTARY: dict[str, Any] = {
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
}
EXPERTS = {
    "num_key_value_heads": 2,
    "num_experts": 3,
    "num_experts_per_tok": 2,
}
NARROW = {**EXPERTS, "moe_intermediate_size": 10}
LATENT: dict[str, Any] = {
    "num_key_value_heads": 4,
    "kv_lora_rank": 6,
    "qk_nope_head_dim": 4,
    "qk_rope_head_dim": 2,
    "v_head_dim": 3,
    "first_k_dense_replace": 1,
    "n_shared_experts": 2,
    "n_group": 2,
    "topk_group": 1,
    # A cache keeps latents, beside which neither keys nor values can be replaced.
    "use_cache": False,
}
LANGUAGE: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 2},
    "mistral": {"num_key_value_heads": 2, "sliding_window": None},
    "gemma3_text": {"num_key_value_heads": 2, "head_dim": 4, "sliding_window": 64},
    "mixtral": {"num_key_value_heads": 2, "num_local_experts": 3, "num_experts_per_tok": 2},
    "qwen3_moe": {
        **NARROW,
        "head_dim": 4,
        "decoder_sparse_step": 2,  # block 1 alone is a mixture
        "norm_topk_prob": True,
    },
    "qwen2_moe": {**NARROW, "shared_expert_intermediate_size": 14, "mlp_only_layers": [0]},
    "olmoe": EXPERTS,
    "granitemoe": {
        **EXPERTS,
        "num_local_experts": 3,
        "residual_multiplier": 0.22,
        "logits_scaling": 6.0,
    },
    "gpt_oss": {**EXPERTS, "num_local_experts": 3, "head_dim": 4, "sliding_window": 4},
    "deepseek_v2": {**NARROW, **LATENT, "q_lora_rank": None, "n_routed_experts": 3},
    "deepseek_v3": {**NARROW, **LATENT, "q_lora_rank": 6, "n_routed_experts": 4, "topk_group": 2},
    "gpt2": {"n_positions": 64},
    "gpt_bigcode": {"n_positions": 64},
    "gpt_bigcode_many": {"n_positions": 64, "multi_query": False},
    "gptj": {"n_positions": 64, "rotary_dim": 2},
    "falcon": {"bias": True},
    "falcon_alibi": {"alibi": True, "multi_query": False, "parallel_attn": False},
    "falcon_new": {"new_decoder_architecture": True, "num_kv_heads": 2},
    "gpt_neox": {"use_parallel_residual": True},
    "gpt_neox_sequential": {"use_parallel_residual": False},
    "opt": {"ffn_dim": 24, "word_embed_proj_dim": 16},
    "gemma": {"num_key_value_heads": 1, "head_dim": 4},
    "olmo": {"num_key_value_heads": 2},
    "olmo2": {"num_key_value_heads": 2},
    "granite": {
        "num_key_value_heads": 2,
        "residual_multiplier": 0.22,
        "embedding_multiplier": 3.0,
        "attention_multiplier": 0.3,
        "logits_scaling": 6.0,
    },
    "stablelm": {
        "num_key_value_heads": 2,
        "use_parallel_residual": True,
        "qk_layernorm": True,
        **ROTARY,
    },
    "stablelm_sequential": {"num_key_value_heads": 2, "use_parallel_residual": False, **ROTARY},
    "cohere": {"num_key_value_heads": 2, "logit_scale": 0.3},
    "cohere2": {"num_key_value_heads": 2, "head_dim": 4, "sliding_window": 4},
    "phi": {"num_key_value_heads": 2, "qk_layernorm": True},
    "phi3": {"num_key_value_heads": 2, "head_dim": 2, "sliding_window": 4},
    "starcoder2": {"num_key_value_heads": 2, "use_bias": True},
    "bert": {},
    "mpnet": {"pad_token_id": 1, "bos_token_id": 0},  # its positions are counted around a 1
}
# Names of one type with other settings.
KIND = {name: name.rsplit("_", 1)[0] for name in ("gpt_neox_sequential", "stablelm_sequential")}
KIND |= {"gpt_bigcode_many": "gpt_bigcode", "falcon_alibi": "falcon", "falcon_new": "falcon"}
CAUSAL = tuple(name for name in LANGUAGE if name not in ("bert", "mpnet"))
MIXTURES = ("mixtral", "qwen3_moe", "qwen2_moe", "olmoe", "granitemoe", "gpt_oss")
MIXTURES += ("deepseek_v2", "deepseek_v3")
TRANSFORMERS = (*LANGUAGE, "vit")
# Other encoders of text, and networks that read images.
ENCODERS: dict[str, dict[str, Any]] = {
    **{kind: {} for kind in ("xlm-roberta", "camembert", "data2vec-text", "ernie")},
    "electra": {"embedding_size": 12},
    "distilbert": {"hidden_dim": 24},
    "deberta-v2": {
        "relative_attention": True,
        "pos_att_type": ["c2p", "p2c"],
        "position_buckets": 4,
        "norm_rel_ebd": "layer_norm",
    },
    "esm": {"position_embedding_type": "rotary", "mask_token_id": 3, "token_dropout": True},
    "nomic_bert": {},
    "modernbert": {"local_attention": 6, "cls_token_id": 1, "sep_token_id": 2},
    "clip_text_model": {},
}
VISION: dict[str, dict[str, Any]] = {
    **{kind: {} for kind in ("vit", "deit", "clip_vision_model", "siglip_vision_model")},
    "dinov2": {"layerscale_value": 0.5},
    "dinov2_with_registers": {"layerscale_value": 0.5, "num_register_tokens": 2},
}
# Blocks in stages, each wider than the one before.
STAGED: dict[str, dict[str, Any]] = {
    "convnextv2": {
        "hidden_sizes": [8, 12],
        "depths": [2, 1],
        "num_stages": 2,
        "drop_path_rate": 0.1,
    },
    "swin": {"embed_dim": 8, "depths": [2, 1], "num_heads": [2, 4], "window_size": 2},
}
STAGED["convnext"] = {**STAGED["convnextv2"], "layer_scale_init_value": 0.5}
# Encoder-decoders: three blocks of four heads, then two of two (T5's of four).
SIDES: dict[str, dict[str, Any]] = {
    "t5": {},
    "mt5": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    **{kind: {} for kind in ("bart", "marian", "mbart", "pegasus")},
    "whisper": {"num_mel_bins": 5, "max_source_positions": 6, "suppress_tokens": None},
}
SIDED: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 20,
    "decoder_start_token_id": 1,
    "max_target_positions": 32,
}
# Their masks in doubles are minus infinity in the floats of their softmax: NaN at left padding.
SINGLES: dict[str, dict[str, Any]] = {"bloom": {}, "mpt": {"max_seq_len": 64}}
EVERY = (*LANGUAGE, *SINGLES, *ENCODERS, *VISION)
GIVEN = LANGUAGE | SINGLES | ENCODERS | VISION | STAGED | SIDES
# Which transformers computes no other way.
EAGER = ("mpnet", "deberta-v2", "gpt_oss", "bloom", "gptj", "mpt")
# Their attention functions are not chosen by name, so that patterns are not reached.
UNNAMED = ("mpnet", "deberta-v2", "bloom", "gptj", "mpt", "falcon", "falcon_alibi", "falcon_new")
MODULES = ("conv", "gru", "lstm", "dictionary", "tuple", "attention", "repeated")

D_MODEL, N_LAYERS, N_HEADS, D_MLP, VOCABULARY = 16, 3, 4, 24, 40


def tiny(name: str, *, dtype: torch.dtype = torch.float64, **options: Any) -> nn.Module:
    """Make a small random model; ``options`` go to the configuration."""
    torch.manual_seed(0)
    model = MAKERS[name]() if name in MAKERS else _transformer(name, options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.to(dtype).eval()


def in_doubles(model: nn.Module) -> nn.Module:
    """Compute norms in doubles: transformers rounds them to floats, which drowns differences."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
            plus = 1.0 if type(module).__name__.startswith("Gemma") else 0.0

            def forward(x, weight=module.weight, eps=eps, plus=plus):
                return (weight + plus) * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)

            module.forward = forward
        elif type(module).__name__ in ("CohereLayerNorm", "Cohere2LayerNorm", "OlmoLayerNorm"):
            module.forward = partial(
                nn.functional.layer_norm,
                normalized_shape=(D_MODEL,),
                weight=getattr(module, "weight", None),
                eps=getattr(module, "variance_epsilon", 1e-5),
            )
    return model


def ids(batch: int = 2, length: int = 7, *, seed: int = 0) -> Tensor:
    """Token ids, shape (batch, length), without the special ones."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY, (batch, length), generator=generator)


def inputs(name: str, *, batch: int = 2) -> Any:
    """What the model of this name reads: token ids, images, sequences of vectors, or a mapping."""
    generator = torch.Generator().manual_seed(0)
    if name in (*LANGUAGE, *SINGLES, *ENCODERS):
        return ids(batch)
    if name in SIDES:
        read: dict[str, Any] = {"input_ids": ids(batch)}
        if name == "whisper":
            size = (batch, 5, 12)
            read = {"input_features": torch.randn(size, generator=generator, dtype=torch.float64)}
        return read | {"decoder_input_ids": ids(batch, 5, seed=1)}
    if name in STAGED:
        return torch.randn((batch, 3, 16, 16), generator=generator, dtype=torch.float64)
    shape = (batch, 3, 8, 8) if name in VISION or name == "conv" else (batch, 5, 6)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _transformer(name: str, options: dict[str, Any]) -> nn.Module:
    import transformers

    kind = KIND.get(name, name)
    common: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": D_MODEL,
        "intermediate_size": D_MLP,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": N_HEADS,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        # Eager attention rounds its softmax to floats, and gives NaN under padding on the left.
        "attn_implementation": "eager" if kind in EAGER else "sdpa",
        "experts_implementation": "eager",  # the grouped one multiplies no doubles
    }
    if kind in SIDES:
        t5 = {"num_layers": 3, "num_decoder_layers": 2, "num_heads": 4, "d_kv": 4, "d_ff": 24}
        common |= SIDED | (t5 if "t5" in kind else {})
    if kind in STAGED:
        common = {"image_size": 16, "patch_size": 2, "num_channels": 3}
    if kind in VISION:
        common |= {"image_size": 8, "patch_size": 4, "num_channels": 3, "num_labels": 3}
    config = transformers.AutoConfig.for_model(kind, **(common | GIVEN.get(name, {}) | options))
    heads: dict[str, Any] = {
        **dict.fromkeys(("bert", "mpnet", *ENCODERS, *VISION, *STAGED), transformers.AutoModel),
        "vit": transformers.AutoModelForImageClassification,
        **dict.fromkeys(SIDES, transformers.AutoModelForSeq2SeqLM),
        "whisper": transformers.AutoModelForSpeechSeq2Seq,
    }
    model: nn.Module = heads.get(kind, transformers.AutoModelForCausalLM).from_config(config)
    return model


class Conv(nn.Module):
    """A convolutional net whose second half adds to its first in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.conv1(x)))
        out = self.conv2(x)
        out += x
        pooled: Tensor = self.last(out).mean((-2, -1))
        logits: Tensor = self.head(pooled)
        return logits


class Recurrent(nn.Module):
    """A recurrent layer and a linear readout of its last state."""

    def __init__(self, kind: type[nn.RNNBase], batch_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.rnn: nn.RNNBase = kind(6, 8, batch_first=batch_first)  # type: ignore[call-arg, arg-type]
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.rnn(x if self.batch_first else x.transpose(0, 1))[0]
        logits: Tensor = self.head(out[:, -1] if self.batch_first else out[-1])
        return logits


class Returning(nn.Module):
    """A module whose first part returns a dict, or a tuple."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        out = self.inner(x)
        hidden = out["hidden"] if isinstance(out, dict) else out[0]
        other = out["gate"] if isinstance(out, dict) else out[1]
        return {"logits": self.head(hidden * other)}


class Pair(nn.Module):
    """Two tensors, as a dict or a tuple."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        self.named = named
        self.a, self.b = nn.Linear(6, 8), nn.Linear(6, 8)

    def forward(self, x: Tensor) -> Any:
        hidden, gate = self.a(x), self.b(x).sigmoid()
        return {"hidden": hidden, "gate": gate} if self.named else (hidden, gate)


class Attending(nn.Module):
    """torch's own MultiheadAttention, whose output projection is never called as a module."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.attention(x, x, x)[0])
        return out


class Repeated(nn.Module):
    """One cell, called at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(6, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 8)
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        logits: Tensor = self.head(state)
        return logits


MAKERS: dict[str, Any] = {
    "conv": Conv,
    "gru": lambda: Recurrent(nn.GRU, True),
    "lstm": lambda: Recurrent(nn.LSTM, False),
    "dictionary": lambda: Returning(Pair(True)),
    "tuple": lambda: Returning(Pair(False)),
    "attention": Attending,
    "repeated": Repeated,
}


class Letters:
    """A tokenizer of single letters: a is 3, b is 4, ..."""

    pad_token_id, bos_token_id = 0, None

    def encode(self, text, add_special_tokens=True, **options):
        return [3 + (ord(c) - ord("a")) % (VOCABULARY - 3) for c in text]


class Words:
    """A tokenizer of numbers: the text "5 9" is the tokens 5 and 9."""

    pad_token_id, bos_token_id = 0, None

    def encode(self, text, add_special_tokens=True, **options):
        return [int(word) for word in text.split() if word.isdigit()]


SPECIAL, WORDS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]"), tuple(f"w{i}" for i in range(12))


def pair_tokenizer():
    """A tokenizer of the words w0 to w11 that reads pairs, for cross-encoders."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
