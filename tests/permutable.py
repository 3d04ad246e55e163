"""Small networks whose units can be permuted, each with an example."""

import copy

import torch
from torch import nn


class Block(nn.Module):
    """Two convolutions beside a path that skips them."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(n_out)
        conv = nn.Conv2d(n_in, n_out, 1, stride)
        self.skip = nn.Identity() if n_in == n_out else nn.Sequential(conv, nn.BatchNorm2d(n_out))

    def forward(self, x):
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu_(self.norm2(self.conv2(y)).add_(self.skip(x)))


def mlp(width=12):
    return nn.Sequential(
        nn.Linear(6, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.GELU(),
        nn.LayerNorm(width),
        nn.Dropout(),
        nn.Linear(width, 3),
    )


def residual():
    stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
    head = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 4, 5))
    return nn.Sequential(stem, Block(6, 6, 1), Block(6, 8, 2), head)


def transformer():
    layers = [nn.TransformerEncoderLayer(12, 3, 10, batch_first=True) for _ in range(2)]
    return nn.Sequential(nn.Linear(4, 12), *layers, nn.Linear(12, 3))


MODELS = {
    "mlp": (mlp, (20, 6)),
    "residual": (residual, (6, 3, 8, 8)),
    "transformer": (transformer, (6, 5, 4)),
}


def made(name, seed=0):
    """Return a network, no weight of which is like another, and an example."""
    make, shape = MODELS[name]
    torch.manual_seed(seed)
    model = make().eval()
    with torch.no_grad():
        for x in model.parameters():
            if x.ndim == 1:
                x.add_(0.3 * torch.randn_like(x))
        for key, x in model.named_buffers():
            if "mean" in key:
                x.add_(0.1 * torch.randn_like(x))
            if "var" in key:
                x.mul_(0.05 + 0.2 * torch.rand_like(x))
    return model, torch.randn(shape)


def changed(model, orders):
    """Return a copy of a model with axes of weights in other orders, {name: {axis: order}}."""
    state = {key: x.clone() for key, x in model.state_dict().items()}
    for name, axes in orders.items():
        for d, order in axes.items():
            state[name] = state[name].index_select(d, torch.as_tensor(order))
    other = copy.deepcopy(model)
    other.load_state_dict(state)
    return other
