"""Layers that do nothing to some tokens are skipped by them, and nothing changes; others change."""

import numpy as np
import pytest
import torch
from torch import nn

import nissl
from nissl.errors import NisslError
from nissl.network import skip_random, skip_voids
from nissl.selectivity.voids import stream_norms, void_layers
from tiny import inputs, tiny

LAYERS, ALPHA = 6, 0.01
IDLE = {3: 0, 4: 1}  # layer: the parity of the tokens that it does nothing to


class Sometimes(nn.Module):
    """A block that triples the stream, or does nothing to tokens of one parity."""

    def __init__(self, inner, kept, parity):
        super().__init__()
        self.inner, self.kept, self.parity = inner, kept, parity

    def forward(self, hidden_states, *args, **kwargs):
        out = 3 * self.inner(hidden_states, *args, **kwargs)
        idle = (self.kept["ids"] % 2 == self.parity)[..., None]
        return torch.where(idle, hidden_states, out)


@pytest.fixture
def planted():
    model = tiny("llama", num_hidden_layers=LAYERS)
    kept = {}
    model.model.embed_tokens.register_forward_hook(lambda m, args, out: kept.update(ids=args[0]))
    for layer, block in enumerate(model.model.layers):
        model.model.layers[layer] = Sometimes(block, kept, IDLE.get(layer, -1))
    return nissl.load(model)


def test_skipping_what_does_nothing_changes_nothing(planted):
    given = inputs("llama", batch=6)
    for stream in ("skipped", "whole"):
        edit = skip_voids(alpha=ALPHA, stream=stream)
        clean = planted.run(given, sites="logits")["logits"]
        with planted.edit(edit):
            changed = planted.run(given, sites="logits")["logits"]
        assert torch.equal(clean, changed)
        usage = edit.usage().set_index("layer")["used"]
        for layer in range(LAYERS):
            idle = (given % 2 == IDLE.get(layer, -1)).double().mean()
            assert usage[layer] == pytest.approx(1 - float(idle))
        with planted.edit(skip_random(edit, seed=1)):
            assert not torch.allclose(clean, planted.run(given, sites="logits")["logits"])


def test_the_detector_sees_the_same_voids(planted):
    given = inputs("llama", batch=6)
    rec = nissl.record(
        planted, given, sites=["blocks.0.resid_pre", "resid_post"], bos="never", progress=False
    )
    void = void_layers(stream_norms(rec), alpha=ALPHA)
    for layer in range(LAYERS):
        assert (void[:, layer] == (given.flatten().numpy() % 2 == IDLE.get(layer, -1))).all()


@pytest.mark.parametrize("stream", ["skipped", "whole"])
@pytest.mark.parametrize("name", ["llama", "gemma3_text", "gpt2"])
def test_against_hooks_written_out(name, stream):
    net, given, alpha = nissl.load(tiny(name, num_hidden_layers=LAYERS)), inputs(name), 0.5
    with net.edit(skip_voids(alpha=alpha, stream=stream)):
        found = net.run(given, sites="logits")["logits"]
    seen = [[[] for _ in row] for row in given]
    left = {}

    def hook(layer):
        def after(module, args, out):
            new, before = out.clone(), args[0]
            for i, row in enumerate(seen):
                for j, changes in enumerate(row):
                    change = float(out[i, j].norm() - before[i, j].norm())
                    least = alpha * (max(changes) - min(changes)) if changes else 0.0
                    changes.append(change)
                    kept = before[i, j] if layer == 0 or stream == "skipped" else left[i, j]
                    left[i, j] = kept.clone() if change < least else out[i, j].clone()
                    new[i, j] = left[i, j]
            return new if stream == "skipped" or layer == LAYERS - 1 else out

        return after

    for layer in range(LAYERS):
        net.block(layer).register_forward_hook(hook(layer))
    with torch.no_grad():
        expected = net.model(given).logits
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("random", [False, True])
def test_a_cache_of_keys_and_values_changes_nothing(random):
    net = nissl.load(tiny("llama", num_hidden_layers=LAYERS))
    prompts = [row[:n].tolist() for row, n in zip(inputs("llama", batch=3), (7, 4, 6), strict=True)]
    said = {}
    for phases in (("prompt", "response"), ("prompt",), ("response",)):
        for cache in (True, False):
            edit = skip_voids(alpha=0.8, phases=phases)
            if random:
                with net.edit(edit):
                    net.generate(prompts, max_new_tokens=4, min_new_tokens=4)
                edit = skip_random(edit, seed=2)
            with net.edit(edit):
                said[phases, cache] = net.generate(
                    prompts, max_new_tokens=4, min_new_tokens=4, use_cache=cache
                )
            used = edit.usage().groupby("phase")["used"].mean()
            for phase in ("prompt", "response"):
                assert (used[phase] < 1) == (phase in phases)
        assert said[phases, True] == said[phases, False]
    assert len({str(s) for s in said.values()}) > 1


def test_each_token_skips_as_many_at_random(planted):
    given = inputs("llama", batch=5)
    edit = skip_voids(alpha=0.9)
    with planted.edit(edit):
        planted.run(given, sites="final_norm")
    draws = []
    for seed in range(30):
        other = skip_random(edit, seed=seed)
        with planted.edit(other):
            planted.run(given, sites="final_norm")
        (_, places, skips), (_, _, voids) = other.skipped[0], edit.skipped[0]
        for place in range(given.shape[1]):
            assert set(skips[places == place].sum(1)) <= set(voids[places == place].sum(1))
        draws.append(skips)
    share = np.concatenate(draws).mean(axis=0)
    # Evenly over the layers: 1050 tokens draw each.
    assert np.abs(share - share.mean()).max() < 0.08


def test_or_the_layers_of_another_token(planted):
    given = inputs("llama", batch=5)
    edit = skip_voids(alpha=0.9)
    with planted.edit(edit):
        planted.run(given, sites="final_norm")
    other = skip_random(edit, match="layers", seed=0)
    with planted.edit(other):
        planted.run(given, sites="final_norm")
    (_, places, skips), (_, _, voids) = other.skipped[0], edit.skipped[0]
    for place, row in zip(places, skips, strict=True):
        assert row.tolist() in voids[places == place].tolist()
    assert (skips != voids).any()


def test_padding_is_neither_skipped_nor_counted():
    net = nissl.load(tiny("llama", num_hidden_layers=LAYERS))
    rows = [[5, 6, 7, 8, 9], [5, 6]]
    edit = skip_voids(alpha=0.5)
    with net.edit(edit):
        together = net.run(rows, sites="logits")["logits"]
        alone = net.run([rows[1]], sites="logits")["logits"]
    torch.testing.assert_close(together[1, :2], alone[0])
    assert edit.usage()["n_tokens"].tolist() == [9] * LAYERS


def test_what_cannot_be_is_refused():
    with pytest.raises(NisslError, match=r"alpha=-0\.5 is no share"):
        skip_voids(alpha=-0.5)
    with pytest.raises(NisslError, match="did you mean 'response'"):
        skip_voids(phases=["responses"])
    with pytest.raises(NisslError, match="did you mean 'whole'"):
        skip_voids(stream="whol")
    with pytest.raises(NisslError, match="has skipped nothing yet"):
        skip_random(skip_voids())
    with pytest.raises(NisslError, match="did you mean 'layers'"):
        skip_random(skip_voids(), match="layer")
    with pytest.raises(NisslError, match="has not run"):
        skip_voids().usage()
    net = nissl.load(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(NisslError, match="resid_post"), net.edit(skip_voids()):
        pass
    # Images have no tokens.
    net = nissl.load(tiny("vit"))
    with pytest.raises(NisslError, match="token by token"), net.edit(skip_voids()):
        net.run(inputs("vit"), sites="final_norm")
