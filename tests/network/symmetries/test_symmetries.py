"""Symmetries: groups found by tracing, proven by hand, and nothing where nothing may move."""

import numpy as np
import pytest
import torch
from torch import nn

from nissl import NisslError
from nissl.network import symmetries
from permutable import MODELS, changed, made, mlp

torch.manual_seed(0)


class Numpy(nn.Module):
    """Weighs its units by their place, out of torch's sight."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 5)
        self.gain = nn.Parameter(torch.zeros(()))  # which would hide that the output changes

    def forward(self, x):
        x = torch.relu(self.first(torch.relu(x)))
        moved = torch.from_numpy(x.detach().numpy() * np.arange(5, dtype=np.float32))
        return self.second(x) + self.gain * moved


class Cumulative(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.third(torch.relu(self.second(self.first(x).cumsum(-1))))


class Last(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cells, self.head = kind(5, 7, 2, batch_first=True), nn.Linear(7, 2)

    def forward(self, x):
        return self.head(self.cells(x)[0][:, -1])


class Dense(nn.Module):
    """Reads two layers that were concatenated and flattened, by pieces."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(2, 4, 3, padding=1)
        self.second = nn.Conv1d(4, 5, 3, padding=1)
        self.head = nn.Linear(9 * 6, 3)

    def forward(self, x):
        first = torch.tanh(self.first(x))
        both = torch.cat([first, torch.tanh(self.second(first))], 1)
        return self.head(both.flatten(1))


def order(n, parts):
    """Return the order of n indices made of parts (permutation or number of fixed indices)."""
    indices = np.arange(n).reshape([len(p) if np.ndim(p) else p for p in parts])
    for axis, part in enumerate(parts):
        if np.ndim(part):
            indices = indices.take(part, axis)
    return indices.ravel()


@pytest.mark.parametrize("name", MODELS)
def test_every_group_leaves_the_output(name):
    model, x = made(name)
    before, state = model(x), {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    found = symmetries(model, x)
    assert model.training
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    model.eval()
    drawn = found.random(seed=1)
    for group in found.sizes:
        one = {**found.identity(), group: drawn[group]}
        orders = {
            name: {d: axis.order(one) for d, axis in enumerate(axes)}
            for name, axes in found.axes.items()
        }
        other = changed(model, orders)
        assert torch.allclose(other(x), before, atol=1e-5)
        mine = found.permute(model, {group: drawn[group]}).state_dict()
        assert all(torch.equal(v, mine[k]) for k, v in other.state_dict().items())
        assert any(
            not np.array_equal(o, np.sort(o)) for axes in orders.values() for o in axes.values()
        )


def test_groups_of_an_mlp():
    found = symmetries(*made("mlp"))
    assert found.groups == {
        "0.weight[0]": [("0.weight", 0), ("0.bias", 0), ("2.weight", 1)],
        "2.weight[0]": [
            ("2.weight", 0), ("2.bias", 0), ("4.weight", 0), ("4.bias", 0), ("6.weight", 1)
        ],
    }  # fmt: skip
    assert found.unknown == ()
    assert "2 groups" in repr(found)
    assert "4.bias[0] and 1 more" in repr(found)


def test_all_that_is_added_to_a_stream_shares_a_permutation():
    groups = symmetries(*made("residual")).groups
    assert set(groups) == {
        "0.0.weight[0]", "1.conv1.weight[0]", "2.conv1.weight[0]", "2.conv2.weight[0]"
    }  # fmt: skip
    stream = {f"{name}[{d}]" for name, d in groups["0.0.weight[0]"]}
    norms = [f"{n}.{w}[0]" for n in ("0.1", "1.norm2") for w in ("weight", "bias")]
    norms += [f"{n}.running_{w}[0]" for n in ("0.1", "1.norm2") for w in ("mean", "var")]
    assert stream == {
        *norms, "0.0.weight[0]", "0.0.bias[0]", "1.conv1.weight[1]", "1.conv2.weight[0]",
        "2.conv1.weight[1]", "2.skip.0.weight[1]",
    }  # fmt: skip
    last = symmetries(*made("residual")).axes["3.2.weight"][1]
    moved = np.random.default_rng(0).permutation(8)
    found = last.order({"2.conv2.weight[0]": moved})
    assert np.array_equal(found, order(32, [moved, 4]))  # a channel is four columns


def test_heads_move_as_wholes():
    found = symmetries(*made("transformer"))
    stream = found.groups["0.weight[0]"]
    assert ("1.norm1.weight", 0) in stream
    assert ("2.linear1.weight", 1) in stream
    heads, places = (f"1.self_attn.in_proj_weight[0]:{k}" for k in (0, 1))
    assert found.sizes[heads], found.sizes[places] == (3, 4)
    axis = found.axes["1.self_attn.in_proj_weight"][0]
    drawn = found.random(seed=0)
    assert np.array_equal(axis.order(drawn), order(36, [3, drawn[heads], drawn[places]]))


@pytest.mark.parametrize(
    ("config", "heads"), [("GPT2Config", (4,)), ("LlamaConfig", (2, 2)), ("GPTNeoXConfig", (4,))]
)
def test_language_models(config, heads):
    import transformers

    sizes = {"n_layer": 1, "n_head": 4, "n_embd": 32, "n_positions": 16}
    if config != "GPT2Config":
        sizes = {"num_hidden_layers": 1, "num_attention_heads": 4, "hidden_size": 32}
        sizes |= {"intermediate_size": 24}
    if config == "LlamaConfig":
        sizes |= {"num_key_value_heads": 2}
    settings = getattr(transformers, config)(**sizes, vocab_size=50, bos_token_id=0, eos_token_id=1)
    model = transformers.AutoModelForCausalLM.from_config(settings)
    example = {"input_ids": torch.randint(0, 50, (2, 6)), "use_cache": False}
    found = symmetries(model, example)
    attention = [n for g, n in found.sizes.items() if ":" in g]
    assert tuple(attention[: len(heads)]) == heads
    assert {32, 24 if "Llama" in config or "Neo" in config else 128} <= set(found.sizes.values())
    assert not any(group.endswith("_embed.weight[0]") for group in found.sizes)  # words stay


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_gates_of_a_recurrent_net_move_together(kind):
    found = symmetries(Last(kind), torch.randn(2, 4, 5))
    (group,) = found.sizes
    gates = 4 if kind is nn.LSTM else 3
    moved = np.random.default_rng(0).permutation(7)
    for name in ("cells.weight_ih_l0", "cells.weight_hh_l0"):
        assert np.array_equal(
            found.axes[name][0].order({group: moved}), order(7 * gates, [gates, moved])
        )
    assert ("cells.weight_hh_l0", 1) in found.groups[group]


def test_what_was_concatenated_moves_in_pieces():
    found = symmetries(Dense(), torch.randn(2, 2, 6))
    drawn = found.random(seed=0)
    first, second = (order(len(p) * 6, [p, 6]) for p in drawn.values())
    columns = found.axes["head.weight"][1].order(drawn)
    assert np.array_equal(columns, np.concatenate([first, 24 + second]))


def test_channels_stay_within_the_groups_of_a_norm():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8), nn.ReLU(), nn.Conv2d(8, 2, 3))
    x = torch.randn(2, 3, 6, 6)
    found = symmetries(model, x)
    assert list(found.sizes.values()) == [4, 2]
    assert np.array_equal(
        found.axes["1.weight"][0].order(
            dict(zip(found.sizes, ([1, 0, 2, 3], [1, 0]), strict=True))
        ),
        [3, 2, 1, 0, 5, 4, 7, 6],
    )
    across = [2, 1, 0, 3, 4, 5, 6, 7]
    other = changed(
        model,
        {"0.weight": {0: across}, "0.bias": {0: across}, "1.weight": {0: across},
         "1.bias": {0: across}, "3.weight": {1: across}},
    )  # fmt: skip
    assert not torch.allclose(other(x), model(x), atol=1e-3)  # so it is right not to offer it


def test_convolutions_in_groups():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 12, 3, groups=2),
        nn.Upsample(scale_factor=2), nn.ConvTranspose2d(12, 4, 2), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip
    found = symmetries(model, torch.randn(2, 3, 9, 9))
    assert list(found.sizes.values()) == [2, 4, 6, 4]


def test_an_operation_without_a_rule_holds_its_units():
    found = symmetries(Cumulative(), torch.randn(3, 4))
    assert list(found.sizes) == ["second.weight[0]"]
    assert found.unknown == ("cumsum",)


def test_what_cannot_be_followed_is_refused_by_name():
    model, x = Numpy(), torch.randn(3, 4)
    with pytest.raises(NisslError, match=r"first.weight\[0\]") as error:
        symmetries(model, x)
    assert "fixed=['first.weight[0]']" in str(error.value)
    assert symmetries(model, x, fixed="first.weight[0]").sizes == {}
    assert symmetries(model, x, fixed=["first.*"]).sizes == {}
    with pytest.raises(NisslError, match="nothing is called 'frist'"):
        symmetries(model, x, fixed="frist")


def test_inputs_and_outputs_stay():
    assert symmetries(nn.Linear(4, 3), torch.randn(2, 4)).sizes == {}
    tied = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    tied[2].weight = tied[0].weight
    assert symmetries(tied, torch.randn(2, 4)).sizes == {}  # its rows are the output's


def test_bad_input_is_refused():
    with pytest.raises(NisslError, match="cannot be called on the example"):
        symmetries(mlp(), torch.randn(2, 7))
    with pytest.raises(NisslError, match="is no module of torch"):
        symmetries("mlp", torch.randn(2, 7))
    model, x = made("mlp")
    with pytest.raises(NisslError, match="no permutation of 12 units"):
        symmetries(model, x).permute(model, {"0.weight[0]": np.zeros(12, int)})
    with pytest.raises(NisslError, match=r"no group is called '0.weight'"):
        symmetries(model, x).permute(model, {"0.weight": np.arange(12)})
