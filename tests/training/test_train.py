"""Training is the same for a seed, goes on where it was interrupted, and is not done twice."""

import numpy as np
import pytest
import torch
from torch import nn

from nissl.errors import NisslError
from nissl.training import Batches, Trained, train
from nissl.training.keeping import configuration_hash

X = torch.linspace(-1, 1, 32).unsqueeze(1)
Y = 2 * X - 1


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NISSL_CACHE", str(tmp_path))
    return tmp_path


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))


def squared(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return (model(batch[0]) - batch[1]).square().mean()


def trained(model: nn.Module | None = None, *, loss=squared, **options) -> Trained:
    options = {"steps": 12, "learning_rate": 0.05, "progress": False} | options
    return train(model or network(), Batches(X, Y, batch_size=8), loss=loss, **options)


def weights(model: nn.Module) -> np.ndarray:
    return torch.cat([p.detach().flatten() for p in model.parameters()]).numpy()


def test_it_learns():
    done = trained(steps=300, optimiser="adam", cache=False)
    assert done.losses[-20:].mean() < 0.2 * done.losses[:20].mean()
    assert not done.model.training


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_the_same_for_a_seed(optimiser, schedule):
    options = {"optimiser": optimiser, "schedule": schedule, "warmup": 3, "cache": False}
    first, again, other = (trained(seed=seed, **options) for seed in (0, 0, 1))
    np.testing.assert_array_equal(weights(first.model), weights(again.model))
    np.testing.assert_array_equal(first.losses, again.losses)
    assert (first.losses != other.losses).any()  # dropout


def test_against_a_loop_written_out():
    model, batches = nn.Linear(1, 1), Batches(X, Y, batch_size=8)
    expected = nn.Linear(1, 1)
    expected.load_state_dict(model.state_dict())
    for step in range(10):
        x, y = batches(step)
        loss = (expected(x) - y).square().mean()
        expected.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in expected.parameters():
                p -= 0.1 * (1 - step / 10) * p.grad
    train(
        model,
        batches,
        loss=squared,
        steps=10,
        optimiser="sgd",
        betas=(0.0, 0.0),
        clip=None,
        learning_rate=0.1,
        schedule="linear",
        cache=False,
        progress=False,
    )
    np.testing.assert_allclose(weights(model), weights(expected), rtol=1e-6)


def test_checkpoints_are_the_model_as_it_was():
    start = weights(network())
    for cache in (False, True):
        done = trained(checkpoints=[0, 5], cache=cache)
        assert done.checkpoints == (0, 5, 12)
        np.testing.assert_array_equal(weights(done.at(0)), start)
        np.testing.assert_array_equal(weights(done.at(12)), weights(done.model))
        # The rate is constant, so that five steps of twelve are five steps.
        np.testing.assert_array_equal(weights(done.at(5)), weights(trained(steps=5).model))
    with pytest.raises(NisslError, match="no weights were kept at step 3"):
        done.at(3)


def test_it_is_not_trained_twice():
    first = trained(checkpoints=[3])
    again = trained(checkpoints=[3], loss=squared)
    assert first.folder == again.folder
    assert sorted(p.name for p in first.folder.iterdir()) == [
        "losses.npy",
        "step-00000003.pt",
        "step-00000012.pt",
    ]
    np.testing.assert_array_equal(weights(first.model), weights(again.model))
    np.testing.assert_array_equal(first.losses, again.losses)
    calls = []

    def counted(step: int) -> tuple[torch.Tensor, ...]:
        calls.append(step)
        return X, Y

    for _ in range(2):
        train(network(), counted, loss=squared, steps=3, key="all", progress=False)
    assert calls == [0, 1, 2]
    train(network(), counted, loss=squared, steps=3, progress=False)  # no key: not cached
    assert calls == [0, 1, 2] * 2


@pytest.mark.parametrize("stopped_at", [1, 5, 6, 11])
def test_it_goes_on_where_it_was_interrupted(stopped_at, monkeypatch):
    whole = trained(checkpoints=[5], cache=False, schedule="cosine", optimiser="adam")
    left = [stopped_at]

    def interrupted(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        if left[0] == 0:
            left[0] = -1
            raise KeyboardInterrupt
        left[0] -= 1
        return squared(model, batch)

    monkeypatch.setattr("nissl.training.keeping.SECONDS", -1 if stopped_at == 6 else 60)
    options = {"checkpoints": [5], "loss": interrupted, "schedule": "cosine", "optimiser": "adam"}
    with pytest.raises(KeyboardInterrupt):
        trained(**options)
    done = trained(**options)
    np.testing.assert_array_equal(done.losses, whole.losses)
    np.testing.assert_array_equal(weights(done.model), weights(whole.model))
    np.testing.assert_array_equal(weights(done.at(5)), weights(whole.at(5)))


def test_a_file_half_written_is_no_checkpoint(cache, monkeypatch):
    def torn(weights, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", torn)
        with pytest.raises(NisslError, match="cannot be kept: No space left"):
            trained()
    assert not list(cache.rglob("*.pt*"))
    assert len(trained().losses) == 12


def test_the_hash_sees_everything():
    def other(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return (model(batch[0]) - batch[1]).abs().mean()

    data = Batches(X, Y, batch_size=8)
    relu = network()
    relu[1] = nn.ReLU()
    hashes = [
        configuration_hash(network(), data, squared, {"steps": 1}),
        configuration_hash(network(1), data, squared, {"steps": 1}),
        configuration_hash(relu, data, squared, {"steps": 1}),
        configuration_hash(network(), Batches(X, 2 * Y, batch_size=8), squared, {"steps": 1}),
        configuration_hash(network(), Batches(X, Y, batch_size=4), squared, {"steps": 1}),
        configuration_hash(network(), Batches(X, Y, batch_size=8, seed=1), squared, {"steps": 1}),
        configuration_hash(network(), data, other, {"steps": 1}),
        configuration_hash(network(), data, squared, {"steps": 2}),
    ]
    assert len(set(hashes)) == len(hashes)
    assert configuration_hash(network(), data, squared, {"steps": 1}) == hashes[0]


def test_torchs_generator_is_left_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    model = nn.Linear(1, 1)
    torch.manual_seed(7)
    train(model, Batches(X, Y, batch_size=8), loss=squared, steps=2, cache=False, progress=False)
    assert torch.rand(1) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "train nothing"),
        ({"learning_rate": 0.0}, "train nothing"),
        ({"optimiser": "adamv"}, "or 'adamw'"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"checkpoints": [13]}, "not within training"),
        ({"checkpoints": [-1]}, "not within training"),
        ({"loss": lambda model, batch: model(batch[0]).sum() * float("nan")}, "the loss is nan"),
        ({"model": network().requires_grad_(False)}, "no parameter"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(NisslError, match=message):
        trained(**options, cache=False)


def test_batches():
    batches = Batches(X, Y, batch_size=10, seed=3)
    assert len(batches) == 3
    for x, y in map(batches, range(7)):
        np.testing.assert_array_equal(y, 2 * x - 1)
    epoch = np.concatenate([batches(step)[0].flatten() for step in range(3, 6)])
    assert len(set(epoch.tolist())) == 30
    np.testing.assert_array_equal(batches(4)[0], Batches(X, Y, batch_size=10, seed=3)(4)[0])
    with pytest.raises(NisslError, match="have \\[32, 31\\] samples"):
        Batches(X, Y[1:], batch_size=4)
    for size in (0, 33):
        with pytest.raises(NisslError, match="cannot be made of 32 samples"):
            Batches(X, batch_size=size)


@pytest.mark.parametrize("name", ["losses.npy", "step-00000003.pt", "step-00000012.pt"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied"])
def test_what_was_kept_and_is_damaged_is_trained_again(name, damage):
    first = trained(checkpoints=[3])
    path = first.folder / name
    data = bytearray(path.read_bytes())
    values = {"losses.npy": 128}.get(name, bytes(data).find(b"PK\x03\x04", 10) - 40)
    places = [values + 3, len(data) // 2] if damage == "flipped" else [0]
    for place in places:
        changed = bytearray(data)
        if damage == "flipped":
            changed[place] ^= 4
        path.write_bytes({"cut": data[:-20], "emptied": b""}.get(damage, bytes(changed)))
        with pytest.warns(UserWarning, match="damaged, and is trained again"):
            again = trained(checkpoints=[3])
        np.testing.assert_array_equal(again.losses, first.losses)
        np.testing.assert_array_equal(weights(again.at(3)), weights(first.at(3)))
        assert path.read_bytes() == data


def test_a_filled_cache_that_may_only_be_read_is_used(monkeypatch):
    first = trained(checkpoints=[3])
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("filelock.FileLock.acquire", lambda *_: pytest.fail("locked"))
    np.testing.assert_array_equal(trained(checkpoints=[3]).losses, first.losses)
