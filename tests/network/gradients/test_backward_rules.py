"""Part by part: values stay, and what a rule conserves is conserved."""

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import nn
from transformers.activations import ACT2FN

import nissl
from nissl import NisslError
from nissl.network.gradients import AttentionRule, NonlinearityRule, NormRule, ProductRule
from nissl.network.gradients.backward_rules import straight_through


def drawn(*shape, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def passed(part, rule, *xs):
    """What a part makes of inputs under a rule, without, and their gradients for a random one."""
    net = nissl.load(part.double())
    plain = net.model(*(x.clone() for x in xs))
    xs = [x.clone().requires_grad_() for x in xs]
    with net.backward(rule):
        out = net.model(*(x * 1 for x in xs))  # times one: a leaf cannot be written into
    assert torch.equal(out, plain)
    upstream = drawn(*out.shape, seed=1)
    return out.detach(), upstream, torch.autograd.grad(out, xs, upstream, allow_unused=True)


def rms_norm(kind, **options):
    norm = kind(8, **options)
    with torch.no_grad():
        norm.weight += drawn(8)
    return norm


def gemma(size):
    return transformers.models.gemma2.modeling_gemma2.Gemma2RMSNorm(size)


def llama(size):
    return transformers.models.llama.modeling_llama.LlamaRMSNorm(size)


class CubeRoot(nn.Module):
    """A norm that no library has."""

    def forward(self, x):
        return x / x.abs().pow(3).mean(-1, keepdim=True).pow(1 / 3)


class UnitNorm(nn.Module):
    def forward(self, x):
        return F.normalize(x, dim=-1)


class Functional(nn.Module):
    def forward(self, x):
        return F.layer_norm(x, (8,), eps=0.1)


NORMS = {
    "layer": lambda: nn.LayerNorm(8, eps=0.1),
    "layer without weights": lambda: nn.LayerNorm(8, elementwise_affine=False),
    "two dimensions": lambda: nn.LayerNorm((5, 8)),
    "rms": lambda: rms_norm(nn.RMSNorm, eps=0.1),
    "rms without eps": lambda: rms_norm(nn.RMSNorm),
    "llama": lambda: rms_norm(llama),
    "gemma": lambda: rms_norm(gemma),
    "t5": lambda: rms_norm(transformers.models.t5.modeling_t5.T5LayerNorm),
    "group": lambda: nn.GroupNorm(2, 4),
    "instance": lambda: nn.InstanceNorm1d(4, affine=True),
    "batch": lambda: nn.BatchNorm1d(4).eval(),
    "unit": UnitNorm,
    "functional": Functional,
    "own": type("CubeRootNorm", (CubeRoot,), {}),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms_are_linear_but_for_their_bias(name):
    torch.manual_seed(0)
    norm, x = NORMS[name](), drawn(3, 4, 8)
    x = drawn(3, 5, 8) if name == "two dimensions" else x
    if getattr(norm, "bias", None) is not None:
        with torch.no_grad():
            norm.bias += torch.linspace(-1, 1, norm.bias.numel()).view_as(norm.bias)
    out, upstream, (g,) = passed(norm, NormRule(), x)
    zero = torch.zeros_like(x)
    offset = norm(zero) if name in ("group", "instance", "batch") else getattr(norm, "bias", None)
    offset = torch.zeros(()) if offset is None else offset.detach()
    # transformers computes root mean squares in float32.
    tolerance = 1e-5 if name in ("llama", "gemma", "t5") else 1e-12
    conserved = ((out - offset) * upstream).sum()
    torch.testing.assert_close((x * g).sum(), conserved, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["layer", "rms", "functional"])
def test_norms_multiply_by_what_they_did(name):
    norm, x, direction = NORMS[name](), drawn(3, 4, 8), drawn(3, 4, 8, seed=2)
    _, upstream, (g,) = passed(norm, NormRule(), x)
    centred, power = direction, x.square().mean(-1)
    if name != "rms":
        centred, power = direction - direction.mean(-1, keepdim=True), x.var(-1, unbiased=False)
    expected = centred / (power + 0.1).sqrt()[..., None] * getattr(norm, "weight", 1.0)
    torch.testing.assert_close((g * direction).sum(), (upstream * expected).sum())


@pytest.mark.parametrize("name", sorted(set(ACT2FN) - {"xielu", "laplace", "sqrtsoftplus"}))
@pytest.mark.parametrize("how", ["secant", "identity", "guided"])
def test_every_activation_of_transformers(name, how):
    x = drawn(4, 16) * 3
    x[0, :2] = torch.tensor([0.0, 1e-300])
    if name == "relu2":
        x[0, 1] = 1e-12
    act = ACT2FN[name]
    out, upstream, (g,) = passed(nn.Sequential(act), NonlinearityRule(how), x)
    zeros = torch.zeros_like(x).requires_grad_()
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(act(leaf).sum(), leaf)
    (at_zero,) = torch.autograd.grad(act(zeros).sum(), zeros)
    if name == "linear" or how == "identity":
        expected = upstream
    elif how == "guided":
        expected = upstream.clamp(min=0) * slope * (x > 0)
    else:
        offset = act(torch.zeros((), dtype=torch.float64))
        small = x.abs() < 1e-7
        expected = upstream * torch.where(small, at_zero, (out - offset) / x)
        torch.testing.assert_close((x * g).sum(), (upstream * (out - offset)).sum())
    torch.testing.assert_close(g, expected, rtol=1e-9, atol=1e-9)


class Parted(nn.Module):
    """Not an elementwise module, since it has a part."""

    def __init__(self):
        super().__init__()
        self.part = nn.Identity()


class Inline(Parted):
    """Nonlinearities that are no modules, one of them in place."""

    def forward(self, x):
        x = torch.tanh(x + 0.1)
        x = F.leaky_relu(x * 1, 0.3, inplace=True)
        return F.silu(input=x).clamp(min=-0.2)


def test_functions_without_modules_and_in_place():
    x = drawn(4, 6)
    _, upstream, (g,) = passed(Inline(), NonlinearityRule(), x)
    a = torch.tanh(x + 0.1)
    b = F.leaky_relu(a, 0.3)
    c = F.silu(b)
    expected = upstream * a / (x + 0.1) * b / a * c / b * c.clamp(min=-0.2) / c
    torch.testing.assert_close(g, expected)
    for module in (nn.ReLU(inplace=True), nn.PReLU(4), nn.Hardtanh(-0.5, 0.5, inplace=True)):
        x = drawn(3, 4, 5)
        out, upstream, (g,) = passed(nn.Sequential(module), NonlinearityRule(), x)
        torch.testing.assert_close(g, upstream * out / x)
    # What holds the tensor that is written into sees what was written.
    relu = nn.ReLU(inplace=True)
    net = nissl.load(nn.Sequential(relu))
    leaf = drawn(2, 3).requires_grad_()
    with net.backward(NonlinearityRule("identity")):
        x = leaf * 1
        y = net.model(x)
    assert y is x
    assert torch.equal(torch.autograd.grad(x.sum(), leaf)[0], torch.ones(2, 3))


def test_guided_is_what_hooks_on_each_relu_give():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 2), nn.ReLU(), nn.Flatten()
    ).double()
    net, x = nissl.load(model), drawn(2, 3, 8, 8)
    found = {}
    for kind in ("rule", "hooks"):
        leaf = x.clone().requires_grad_()
        handles = []
        if kind == "hooks":
            handles = [
                m.register_full_backward_hook(lambda m, before, after: (before[0].clamp(min=0),))
                for m in model
                if isinstance(m, nn.ReLU)
            ]
        with net.backward(*[NonlinearityRule("guided")] * (kind == "rule")):
            out = model(leaf)
        (found[kind],) = torch.autograd.grad(out.sin().sum(), leaf)
        for handle in handles:
            handle.remove()
    torch.testing.assert_close(found["rule"], found["hooks"], rtol=0, atol=1e-14)


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = nn.SiLU()

    def forward(self, gate, up):
        return self.act(gate) * up


class InPlace(nn.Module):
    def forward(self, gate, up):
        return F.silu(gate).mul_(up)


class Sums(nn.Module):
    def forward(self, gate, up):
        return torch.einsum("bi,bj->bij", [F.gelu(gate), up])


@pytest.mark.parametrize("part", [Gated, InPlace, Sums])
def test_products_are_shared(part):
    gate, up = drawn(4, 6), drawn(4, 6, seed=3)
    out, upstream, (to_gate, to_up) = passed(part(), ProductRule(), gate, up)
    leaves = [x.clone().requires_grad_() for x in (gate, up)]
    plain = torch.autograd.grad(part()(*leaves), leaves, upstream)
    torch.testing.assert_close(to_gate, plain[0] / 2)
    torch.testing.assert_close(to_up, plain[1] / 2)
    _, _, (to_gate, to_up) = passed(part(), ProductRule("hold gate"), gate, up)
    assert to_gate is None or not to_gate.any()
    torch.testing.assert_close(to_up, plain[1])
    torch.testing.assert_close((up * to_up).sum(), (upstream * out).sum())


class GatedAttention(nn.Module):
    """What attention reads, normed, times a gate."""

    def __init__(self):
        super().__init__()
        self.norm, self.gate = nn.LayerNorm(6), nn.Linear(6, 6)

    def forward(self, x):
        read = F.scaled_dot_product_attention(x, x, x)
        return self.norm(read) * self.gate(x).sigmoid()


def test_what_norms_and_attention_make_is_no_gate():
    net, x = nissl.load(GatedAttention().double()), drawn(1, 2, 5, 6)
    rules = (NormRule(), AttentionRule(), ProductRule("hold gate"), NonlinearityRule())
    leaf = x.clone().requires_grad_()
    with net.backward(*rules):
        out = net.model(leaf)
    (g,) = torch.autograd.grad(out.sum(), leaf)
    bias = (net.model.norm.bias * net.model.gate(x).sigmoid()).sum()
    torch.testing.assert_close((leaf * g).sum(), out.sum() - bias)
    # Tensors that are saved elsewhere are no gradient checkpointing.
    with torch.autograd.graph.save_on_cpu(), net.backward(*rules):
        (again,) = torch.autograd.grad(net.model(leaf).sum(), leaf)
    assert torch.equal(again, g)


class DotProductAttention(nn.Module):
    def __init__(self, eager, **options):
        super().__init__()
        self.eager, self.options = eager, options

    def forward(self, q, k, v):
        if not self.eager:
            return F.scaled_dot_product_attention(q, k, v, **self.options)
        mask = self.options.get("attn_mask")
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
        scores = q @ k.mT * self.options.get("scale", q.shape[-1] ** -0.5)
        if self.options.get("is_causal"):
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return scores.softmax(-1).nan_to_num() @ v


@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize("kind", ["plain", "causal", "masked", "grouped"])
def test_attention(eager, kind):
    q, k, v = (drawn(2, 4, 5, 6, seed=i) for i in range(3))
    mask = torch.ones(2, 1, 5, 5, dtype=torch.bool).tril(-1)  # the first query sees nothing
    options = {
        "plain": {},
        "causal": {"is_causal": True, "scale": 0.7},
        "masked": {"attn_mask": mask},
        "grouped": {"enable_gqa": True},
    }[kind]
    if kind == "grouped":
        k, v = k[:, :2], v[:, :2]
    if kind == "masked" and eager:
        mask[..., 0, 0] = True
    part = DotProductAttention(eager, **options)
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    out, upstream, held = passed(part, AttentionRule(), q, k, v)
    plain = torch.autograd.grad(part(*leaves), leaves, upstream)
    assert held[0] is None
    assert held[1] is None
    torch.testing.assert_close(held[2], plain[2])
    torch.testing.assert_close((v * held[2]).sum(), (out * upstream).sum())
    at_one = passed(part, AttentionRule(temperature=1.0), q, k, v)[2]
    for mine, theirs in zip(at_one, plain, strict=True):
        torch.testing.assert_close(mine, theirs)
    half = passed(part, ProductRule(), q, k, v)[2]
    for mine, theirs, share in zip(half, plain, (4, 4, 2), strict=True):
        torch.testing.assert_close(mine, theirs / share)


def test_softmax_at_a_temperature():
    class SoftAttention(nn.Module):
        def forward(self, x):
            return nn.Softmax(-1)(x)

    scores = drawn(3, 5) * 4
    _, g, (found,) = passed(SoftAttention(), AttentionRule(temperature=2.0), scores)
    soft = (scores / 2).softmax(-1)
    torch.testing.assert_close(found, soft * (g - (soft * g).sum(-1, keepdim=True)))


class Exponential(nn.Module):
    """Not of each value alone."""

    def forward(self, x):
        return x.exp() / x.exp().sum(-1, keepdim=True)


class ShrinkNorm(nn.Module):
    def forward(self, x):
        return x * torch.exp(-x.abs().mean(-1, keepdim=True))


class SquashNorm(nn.Module):
    def forward(self, x):
        return torch.tanh(x / x.std(-1, keepdim=True))


class Hidden(nn.Module):
    """A norm that is not called one."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        return self.linear(x) * torch.rsqrt(x.square().mean(-1, keepdim=True))


class Deviation(Parted):
    def forward(self, x):
        return x / x.std(-1, keepdim=True)


class LinearAttention(nn.Module):
    def forward(self, x):
        return x @ (x.mT @ x)


class ThreeFactors(Parted):
    def forward(self, x):
        return torch.einsum("bi,bi,bi->bi", x, x + 1, x + 2)


class Twice(Parted):
    def forward(self, x):
        return x.sigmoid() * x.tanh()


@pytest.mark.parametrize(
    ("part", "rule", "match"),
    [
        (Exponential(), NonlinearityRule(), "exp"),
        (nn.Softmax(-1), NonlinearityRule(), "softmax, in no attention"),
        (nn.Softmax(-1), AttentionRule(), "softmax, in no attention"),
        (nn.LogSoftmax(-1), NonlinearityRule("guided"), "log_softmax"),
        (nn.GLU(), NonlinearityRule(), "glu"),
        (nn.GRU(6, 6), NonlinearityRule(), "gru"),
        (nn.LSTM(6, 6), ProductRule(), "lstm"),
        (ShrinkNorm(), NormRule(), "norm, it divides by nothing"),
        (SquashNorm(), NormRule(), "norm, it computes tanh"),
        (nn.LocalResponseNorm(2), NormRule(), "local_response_norm|divides by nothing"),
        (Hidden(), NormRule(), "rsqrt"),
        (Deviation(), NormRule(), "std"),
        (LinearAttention(), AttentionRule(), "attention, no softmax"),
        (LinearAttention(), ProductRule("hold gate"), "no factor is a gate"),
        (ThreeFactors(), ProductRule(), "more than two"),
        (Twice(), ProductRule("hold gate"), "both factors are a gate"),
        (nn.Bilinear(6, 6, 2), ProductRule(), "bilinear"),
    ],
)
def test_what_a_rule_claims_but_does_not_know_is_named(part, rule, match):
    net = nissl.load(nn.ModuleDict({"inner": part}).double())
    net.model.forward = lambda *args: net.model["inner"](*args)
    x = drawn(3, 6, 6) if isinstance(part, nn.LocalResponseNorm) else drawn(3, 6)
    args = [x, x * 2] if isinstance(part, nn.Bilinear) else [x]
    net.model(*args)
    with net.backward(rule):
        net.model(*args)  # no gradient is asked for, so no rule is needed
    with pytest.raises(NisslError, match=match) as error, net.backward(rule):
        net.model(*(x.clone().requires_grad_() for x in args))
    assert str(error.value.where).startswith("inner")
    assert "forward" not in part.__dict__


def test_fused_attention_and_norms_over_the_batch_are_refused():
    attention = nn.MultiheadAttention(6, 2, batch_first=True).double()
    net, x = nissl.load(attention), drawn(2, 3, 6).requires_grad_()
    with pytest.raises(NisslError, match="multi_head"), net.backward(AttentionRule()):
        net.model(x, x, x)
    net = nissl.load(nn.Sequential(nn.BatchNorm1d(6)))
    net.model.train()
    with pytest.raises(NisslError, match="over the batch"), net.backward(NormRule()):
        net.model(torch.randn(4, 6, requires_grad=True))


def test_weights_are_no_activities():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.full((6,), 0.3))
            self.b = nn.Parameter(torch.randn(6, 6))

        def forward(self, x):
            scale = torch.exp(self.a).view(1, -1) / (1 + self.b.square()).sum()
            return (x * scale) @ (self.b * torch.sigmoid(self.b) @ self.b).T

    torch.manual_seed(0)
    part, x = Scaled(), drawn(3, 6)
    leaf = x.clone().requires_grad_()
    for rule in (NonlinearityRule(), ProductRule(), ProductRule("hold gate"), NormRule()):
        _, upstream, (g,) = passed(part, rule, x)
        assert torch.equal(g, torch.autograd.grad(part(leaf), leaf, upstream)[0])


def test_rules_are_checked():
    for make, match in (
        (lambda: NonlinearityRule("linear"), "no rule 'linear'"),
        (lambda: ProductRule("third"), "no rule 'third'"),
        (lambda: AttentionRule(temperature=0), "above zero"),
        (lambda: AttentionRule(temperature=float("nan")), "above zero"),
    ):
        with pytest.raises(NisslError, match=match):
            make()


def test_straight_through_values_can_be_written_into():
    x = torch.ones(3, requires_grad=True)
    y = straight_through(torch.arange(6.0)[::2], 2 * x)
    y += x
    assert y.tolist() == [1, 3, 5]
    assert torch.autograd.grad(y.sum(), x)[0].tolist() == [3, 3, 3]
