"""Write heads and neurons by hand into a Llama: subspaces of the residual stream and components.

The residual stream is a sum of orthogonal subspaces, in a random basis. A planted component reads
and writes those that it is given; all other heads and neurons are distractors, which read all of
the stream and write where nothing planted reads. The weight of each norm is the mean length that it
divides by, so that components are given the stream about as it is.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["FILLERS", "SWITCHES", "WORDS", "Builder", "tokenizer"]

WORDS = [
    *("apple", "bear", "cloud", "door", "eagle", "forest", "garden", "house"),
    *("island", "jacket", "key", "lamp", "mountain", "needle", "ocean", "piano"),
]
FILLERS = ["the", "of", "and", "then", "there", "was", "near", "by"]
SWITCHES = ("even", "odd")
VOCABULARY = ("[PAD]", "[BOS]", "[UNK]", *WORDS, *FILLERS, *SWITCHES)
SPACES = {  # dimensions of the stream, 72 in all
    "constant": 1,  # the same at each token: what a bias would be, and most of the norm
    "begin": 1,  # the first token, at which heads rest
    "switch": 2,  # which word is asked for
    "word": 16,  # the word that is read
    "filler": 8,  # the filler that is read
    "middle": 16,  # what the first step of a circuit found
    "answer": 16,  # what the logits of words read
    "noise": 12,  # what distractors write
}
D_MODEL, D_HEAD, N_HEADS, D_MLP = 72, 32, 8, 96
CONSTANT, SIZE = 6.0, 2.0  # lengths in the stream: of the constant; of a word, an answer, a switch
# A pair of a head's dimensions turns by THETA ** (-i / 16) a token: the first four tell positions,
# the last ten, twenty dimensions, turn by less than 0.01 over a prompt and hold content.
THETA = 1e10
POSITIONAL, CONTENT = range(4), [*range(6, 16), *range(22, 32)]


def tokenizer() -> Any:
    """Make the tokenizer of words: one token each, after a first one that begins."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    numbers = {word: number for number, word in enumerate(VOCABULARY)}
    made = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="[BOS] $A", special_tokens=[("[BOS]", numbers["[BOS]"])]
    )
    special = {"pad_token": "[PAD]", "bos_token": "[BOS]", "unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=64, **special)


class Builder:
    """A Llama under construction.

    Parameters
    ----------
    n_layers : int
        Blocks, of eight heads and 96 neurons each.
    seed : int
        Of the basis and of distractors.
    """

    def __init__(self, n_layers: int, *, seed: int) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        self.random = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model: Any = LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=len(VOCABULARY),
                    hidden_size=D_MODEL,
                    intermediate_size=D_MLP,
                    num_hidden_layers=n_layers,
                    num_attention_heads=N_HEADS,
                    head_dim=D_HEAD,
                    max_position_embeddings=64,
                    rope_parameters={"rope_type": "default", "rope_theta": THETA},
                    initializer_range=D_MODEL**-0.5,
                    pad_token_id=0,
                    bos_token_id=1,
                    eos_token_id=None,
                )
            ).eval()
        self.untouched = {name: x.clone() for name, x in self.model.state_dict().items()}
        for parameter in self.model.parameters():
            parameter.requires_grad_(False).zero_()
        basis = torch.linalg.qr(self._normal(D_MODEL, D_MODEL))[0]
        self.space = dict(zip(SPACES, basis.split(list(SPACES.values()), dim=1), strict=True))
        self.planted: list[Tensor] = []  # views of the weights of the circuit
        self.heads: set[tuple[int, int]] = set()
        self.neurons = [0] * n_layers
        self._write_vocabulary()

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.random)

    def _write_vocabulary(self) -> None:
        """Write what each token adds to the stream, and which logit each direction raises."""
        embed, unembed = self.model.model.embed_tokens.weight, self.model.lm_head.weight
        embed += CONSTANT * self.space["constant"].T
        embed[1] += SIZE * self.space["begin"][:, 0]
        noise = self._normal(len(VOCABULARY), 12) / 12**0.5
        embed += noise @ self.space["noise"].T
        words = slice(3, 3 + len(WORDS))
        embed[words] += SIZE * self.space["word"].T
        embed[words.stop : -2] += self.space["filler"].T
        embed[-2:] += SIZE * self.space["switch"].T
        unembed[words] = 4.0 * self.space["answer"].T
        others = self._normal(len(FILLERS) + 2, 12) / 12**0.5
        unembed[words.stop :] = 0.5 * others @ self.space["noise"].T

    def head_weights(self, layer: int, head: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return views: W_q, W_k, W_v of shape (d_head, d_model), W_o (d_model, d_head)."""
        attention = self.model.model.layers[layer].self_attn
        rows = slice(head * D_HEAD, (head + 1) * D_HEAD)
        q, k, v = (getattr(attention, f"{kind}_proj").weight[rows] for kind in "qkv")
        return q, k, v, attention.o_proj.weight[:, rows]

    def head(
        self,
        layer: int,
        head: int,
        *,
        value: Tensor,
        write: Tensor,
        query: Tensor | None = None,
        key: Tensor | None = None,
        strength: float = 8.0,
        rest: float = 0.0,
    ) -> str:
        """Plant a head that copies from where keys match its query.

        Parameters
        ----------
        layer, head : int
            Where.
        value, write : Tensor, shape (d_model, n)
            The directions that are read, and those that are written in their place.
        query, key : Tensor, shape (d_model, n_content), optional
            The directions that are compared, each read as 1 where it is present; by default the
            head attends to the previous token.
        strength : float
            The score of a match.
        rest : float
            The score of the first token, to which it attends where nothing matches.

        Returns
        -------
        str
            Its address.
        """
        weights = self.head_weights(layer, head)
        self.heads.add((layer, head))
        self.planted += weights
        q, k, v, o = weights
        constant = self.space["constant"][:, 0] / CONSTANT
        if query is None or key is None:
            for pair in POSITIONAL:  # the query is turned back by one token
                angle = THETA ** (-pair / (D_HEAD / 2))
                k[pair] = constant
                q[pair] = strength * D_HEAD**0.5 * math.cos(angle) * constant
                q[pair + D_HEAD // 2] = -strength * D_HEAD**0.5 * math.sin(angle) * constant
        else:
            matched = CONTENT[: query.shape[1]]
            q[matched] = strength * D_HEAD**0.5 * query.T
            k[matched] = key.T
        q[CONTENT[-1]] = rest * D_HEAD**0.5 * constant
        k[CONTENT[-1]] = self.space["begin"][:, 0] / SIZE
        v[: value.shape[1]] = value.T
        o[:, : write.shape[1]] = write
        return f"blocks.{layer}.attn.z[head {head}]"

    def lookup(self, layer: int, *, read: Tensor, write: Tensor) -> str:
        """Plant neurons that each open at one direction, of length SIZE, and write another.

        Parameters
        ----------
        layer : int
            Where.
        read, write : Tensor, shape (d_model, n)
            What each neuron reads; what it adds, as long.

        Returns
        -------
        str
            The address of the MLP.
        """
        gate = 16.0 * (read / SIZE - 0.5 * self.space["constant"] / CONSTANT)
        return self._plant_neurons(layer, gate, SIZE * write / 8.0)

    def steps(self, layer: int, *, read: Tensor) -> str:
        """Plant neurons that take from each direction what is there, but for a flat middle.

        What is added is minus x below a quarter of SIZE and above three quarters, up to constants,
        and the same all between: at 0 and at SIZE its slope is -1, and between them it falls by
        half of SIZE.

        Parameters
        ----------
        layer : int
            Where.
        read : Tensor, shape (d_model, n)
            The directions.

        Returns
        -------
        str
            The address of the MLP.
        """
        sharp, one = 16.0, self.space["constant"] / CONSTANT
        above = sharp * (read - 0.75 * SIZE * one)
        below = sharp * (0.25 * SIZE * one - read)
        # Slopes cancel at 1.07, since norms grow along the prompt.
        write = 1.07 * torch.cat([-read, read], 1) / sharp
        return self._plant_neurons(layer, torch.cat([above, below], 1), write)

    def _plant_neurons(self, layer: int, gate: Tensor, write: Tensor) -> str:
        """Write neurons silu(gate) with a constant second factor of 1."""
        n = gate.shape[1]
        views, constant = self._neurons(layer, slice(n)), self.space["constant"]
        self.planted += views
        self.neurons[layer] = n
        for view, new in zip(views, (gate.T, constant.T / CONSTANT, write), strict=True):
            view += new
        return f"blocks.{layer}.mlp.out"

    def _neurons(self, layer: int, which: slice) -> tuple[Tensor, Tensor, Tensor]:
        mlp = self.model.model.layers[layer].mlp
        return (
            mlp.gate_proj.weight[which],
            mlp.up_proj.weight[which],
            mlp.down_proj.weight[:, which],
        )

    def add_distractors(self, *, size: float = 0.6) -> None:
        """Fill all other heads and neurons with ones that move the stream and not the answer.

        Parameters
        ----------
        size : float
            About how long what each writes is.

        Notes
        -----
        Of the fillers that it attends to, a head writes a little into the answers, so that what is
        measured there varies with every prompt: by a matrix that is zero on average over fillers
        and over answers.
        Were it of the words, some would be copied in all prompts.
        """
        names = ("word", "filler", "noise", "answer")
        word, filler, noise, answer = (self.space[name] for name in names)
        for layer in range(len(self.neurons)):
            gain = size / (layer + 1)  # later ones are given more noise
            for head in range(N_HEADS):
                if (layer, head) in self.heads:
                    continue
                q, k, v, o = self.head_weights(layer, head)
                q += 0.3 * self._normal(D_HEAD, D_MODEL)
                k += 0.3 * self._normal(D_HEAD, D_MODEL)
                basis = torch.linalg.qr(self._normal(D_HEAD, D_HEAD))[0]
                fillers, others = basis[:, :8], basis[:, 8:]
                v += fillers @ filler.T
                v += others @ self._normal(24, 28) @ torch.cat([word, noise], 1).T / 24**0.5
                o += gain * noise @ self._normal(12, D_HEAD) / 12**0.5
                mixed = 0.12 * self._normal(16, 8)
                mixed -= mixed.mean(0) + (mixed - mixed.mean(0)).mean(1, keepdim=True)
                o += answer @ mixed @ fillers.T
            gate, up, down = self._neurons(layer, slice(self.neurons[layer], D_MLP))
            gate += 0.15 * self._normal(*gate.shape)
            up += 0.15 * self._normal(*up.shape)
            down += (
                2.0 * gain * noise @ self._normal(12, down.shape[1]) / (12 * down.shape[1]) ** 0.5
            )

    def set_norms(self, ids: Tensor) -> None:
        """Set the weight of each norm to the mean length that it divides by, block by block."""
        norms = [m for m in self.model.modules() if type(m).__name__ == "LlamaRMSNorm"]

        def hook(module: Any, args: tuple[Tensor, ...]) -> None:
            module.weight.fill_(args[0].square().mean(-1).sqrt()[:, 1:].mean())

        handles = [norm.register_forward_pre_hook(hook) for norm in norms]
        self.model(ids)
        for handle in handles:
            handle.remove()
