"""Small transformers written out with their backward rules, slowly and obviously."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class ByHand:
    """The rules, by name."""

    norm: bool = False
    act: str | None = None
    product: str | None = None
    attention: float | str | None = None
    stopped: tuple[int, ...] = ()

    # The rules

    def layer_norm(self, x: Tensor, module: Any) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        root = ((x - mean).square().mean(-1, keepdim=True) + module.eps).sqrt()
        return (x - mean) / (root.detach() if self.norm else root) * module.weight + module.bias

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        root = (x.square().mean(-1, keepdim=True) + eps).sqrt()
        return x / (root.detach() if self.norm else root) * weight

    def nonlinearity(self, f: Any, x: Tensor) -> Tensor:
        y = f(x)
        if self.act == "secant":  # of functions that are zero at zero
            return x * (y / x).detach()
        if self.act == "identity":
            return y.detach() + x - x.detach()
        if self.act == "guided":
            (slope,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
            line = x * (slope * (x > 0)).detach()
            if line.requires_grad:
                line.register_hook(lambda gradient: gradient.clamp(min=0))
            return y.detach() + line - line.detach()
        return y

    def multiplied(self, a: Tensor, b: Tensor, *, gate: bool = True) -> Tensor:
        """a @ b for attention's matrices, else a * b; where there is a gate, a is it."""
        times = torch.matmul if a.shape != b.shape or a.ndim == 4 else torch.mul
        if self.product == "half":
            return (times(a, b.detach()) + times(a.detach(), b)) / 2
        if self.product == "hold gate" and gate:
            return times(a.detach(), b)
        return times(a, b)

    def softmax(self, scores: Tensor) -> Tensor:
        pattern = scores.softmax(-1)
        if self.attention == "held":
            return pattern.detach()
        if isinstance(self.attention, float):
            soft = self.attention * (scores / self.attention).softmax(-1)
            return pattern.detach() + soft - soft.detach()
        return pattern

    # Parts of networks

    def attend(self, q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool = True, cap=None):
        """Attention of (batch, position, head, d_head); key heads are repeated."""
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
        scores = self.multiplied(q, k.transpose(-1, -2), gate=False) * scale
        if cap is not None:
            scores = self.nonlinearity(torch.tanh, scores / cap) * cap
        if causal:
            seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
            scores = scores.masked_fill(~seen, -torch.inf)
        return self.multiplied(self.softmax(scores), v).transpose(1, 2).flatten(-2)

    def rotated(self, model: Any, x: Tensor, n: int) -> tuple[Tensor, Tensor]:
        return model.model.rotary_emb(x, torch.arange(n)[None])

    # Networks, from what enters their first block

    def llama(self, model: Any, x: Tensor) -> Tensor:
        return model.lm_head(self._decoder(model, x, plus=0.0))

    def gemma2(self, model: Any, x: Tensor) -> Tensor:
        cap = model.config.final_logit_softcapping
        y = model.lm_head(self._decoder(model, x, plus=1.0))
        return self.nonlinearity(torch.tanh, y / cap) * cap

    def _decoder(self, model: Any, x: Tensor, plus: float) -> Tensor:
        config = model.config

        def norm(module: Any, x: Tensor) -> Tensor:
            eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
            return self.rms_norm(x, module.weight + plus, eps)

        cos, sin = model.model.rotary_emb(x, torch.arange(x.shape[1])[None])
        for layer, block in enumerate(model.model.layers):
            a, mlp = block.self_attn, block.mlp

            def heads(x: Tensor, a: Any = a) -> Tensor:
                return x.unflatten(-1, (-1, a.head_dim))

            def turned(x: Tensor, heads: Any = heads) -> Tensor:
                first, second = heads(x).chunk(2, -1)
                return (
                    heads(x) * cos[:, :, None] + torch.cat([-second, first], -1) * sin[:, :, None]
                )

            h = norm(block.input_layernorm, x)
            z = self.attend(
                turned(a.q_proj(h)),
                turned(a.k_proj(h)),
                heads(a.v_proj(h)),
                a.scaling,
                cap=getattr(config, "attn_logit_softcapping", None),
            )
            out = a.o_proj(z)
            before = block.post_attention_layernorm
            if plus:
                out, before = norm(before, out), block.pre_feedforward_layernorm
            x = x + (out.detach() if layer in self.stopped else out)
            h = norm(before, x)
            gate = self.nonlinearity(mlp.act_fn, mlp.gate_proj(h))
            out = mlp.down_proj(self.multiplied(gate, mlp.up_proj(h)))
            out = norm(block.post_feedforward_layernorm, out) if plus else out
            x = x + (out.detach() if layer in self.stopped else out)
        return norm(model.model.norm, x)

    def gpt2(self, model: Any, x: Tensor) -> Tensor:
        x = x + model.transformer.wpe.weight[: x.shape[1]]
        for block in model.transformer.h:
            h = self.layer_norm(x, block.ln_1)
            q, k, v = (
                y.unflatten(-1, (block.attn.num_heads, -1))
                for y in block.attn.c_attn(h).chunk(3, -1)
            )
            x = x + block.attn.c_proj(self.attend(q, k, v, q.shape[-1] ** -0.5))
            h = block.mlp.c_fc(self.layer_norm(x, block.ln_2))
            x = x + block.mlp.c_proj(self.nonlinearity(block.mlp.act, h))
        return model.lm_head(self.layer_norm(x, model.transformer.ln_f))

    def bert(self, model: Any, x: Tensor) -> Tensor:
        for block in model.encoder.layer:
            a, out = block.attention.self, block.attention.output
            n = a.num_attention_heads
            q, k, v = (f(x).unflatten(-1, (n, -1)) for f in (a.query, a.key, a.value))
            z = self.attend(q, k, v, q.shape[-1] ** -0.5, causal=False)
            x = self.layer_norm(x + out.dense(z), out.LayerNorm)
            h = self.nonlinearity(
                block.intermediate.intermediate_act_fn, block.intermediate.dense(x)
            )
            x = self.layer_norm(x + block.output.dense(h), block.output.LayerNorm)
        return x
