"""What docs/promises.md says of threads, devices, precision and determinism."""

import copy
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import nissl
from nissl import NisslError
from nissl.network import Network
from nissl.recording import as_recording
from nissl.statistics import Correlation, Test, permutation_test
from tiny import ids, tiny

ROOT = Path(__file__).parents[1]
SITES = ["blocks.0.mlp.neurons", "blocks.1.resid_post"]
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")),
]


def network(dtype=torch.float32):
    return Network(tiny("llama", dtype=dtype))


def record(net, inputs, **options):
    return nissl.record(net, inputs, sites=SITES, progress=False, **options)


def test_every_sentence_names_tests_that_exist():
    text = (ROOT / "docs" / "promises.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    for file, test in named:
        assert f"def {test or 'test_'}" in (ROOT / file).read_text(), (file, test)
    for promise in re.split(r"\n(?=- )|\n\n", text.partition("## Threads")[2]):
        said = promise.startswith("- ") and "Number of threads, machine" not in promise
        assert "`tests/" in promise or not said, promise


def test_threads_record_by_turns():
    net = network()
    inputs = [(ids() + i) % 40 for i in range(3)]
    right = [record(net, x).values for x in inputs]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda n: record(net, inputs[n % 3]).values, range(9)))
    assert all(np.array_equal(x, right[n % 3]) for n, x in enumerate(found))


@pytest.mark.parametrize("device", DEVICES)
def test_results_lie_where_they_are_promised(device):
    net = network()
    plain = net.run(ids(), sites=SITES)
    there = Network(copy.deepcopy(net.model).to(device))
    found = there.run(ids(), sites=SITES)  # the ids lie in the computer's memory
    assert all(x.device.type == device for x in found.values())
    for site in SITES:
        torch.testing.assert_close(found[site].cpu(), plain[site], rtol=1e-4, atol=1e-4)
    assert isinstance(record(there, ids()).data, np.ndarray)


def test_a_model_without_numbers_is_refused():
    net = Network(tiny("llama").to("meta"))
    for call in (lambda: net.run(ids(), sites=SITES), lambda: record(net, ids())):
        with pytest.raises(NisslError, match="meta"):
            call()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_types_of_activity(tmp_path, dtype):
    net = network(dtype)
    found = net.run(ids(), sites=SITES)
    assert {x.dtype for x in found.values()} == {dtype}
    exact = np.concatenate([found[s].flatten(0, 1).double().numpy() for s in SITES], axis=1)
    rec, stored = record(net, ids()), record(net, ids(), store=tmp_path / "store")
    assert rec.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    assert np.array_equal(rec.values, exact)
    assert stored.dtype == np.float32
    assert np.array_equal(stored.values, exact.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16])
def test_findings_are_float64(dtype):
    table = finding(activity(dtype)).table
    numbers = table.select_dtypes("number").drop(columns=["layer", "index"], errors="ignore")
    assert {"p", "q", "effect"} <= set(numbers)
    assert set(numbers.dtypes) - {np.dtype(np.int64)} == {np.dtype(np.float64)}


def test_correlations_of_float32():
    x = np.random.default_rng(0).standard_normal((20_000, 40), np.float32)
    x[:, 1:] += 0.5 * x[:, :1]
    accumulator = Correlation(40)
    for first in range(0, len(x), 3000):
        accumulator.update(x[first : first + 3000], start=first)
    expected = np.corrcoef(x.T.astype(np.float64))
    assert np.abs(accumulator.result()["r"] - expected).max() < 1e-7


def bits(net):
    """Return what is computed with a network, as bytes in hexadecimal."""
    table = finding(activity(np.float32)).table
    parts = [record(net, ids()).values.tobytes(), table["p"].to_numpy().tobytes()]
    parts += [str(net.generate(ids(), max_new_tokens=5, sample=True, seed=3)).encode()]
    return "\n".join(part.hex() for part in parts)


def test_another_process_gives_the_same_bits():
    program = "import torch, test_promises; print(test_promises.bits(test_promises.network()))"
    path = os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", program],
        # Another seed of the hashes of words, by which sets lie.
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == bits(network())


def test_chance_comes_from_the_seed_alone():
    net, found = network(), []
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        before = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
        found.append(bits(net))
        assert str(np.random.get_state()) == str(before[0])  # noqa: NPY002
        assert torch.equal(torch.get_rng_state(), before[1])
    assert found[0] == found[1]


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-3), (torch.float64, 1e-9)])
def test_batches_move_activity_by_rounding_alone(dtype, most):
    net = network(dtype)
    texts = [[5, 6, 7], [8, 9, 10, 11, 12], [9], [4, 33, 21, 3, 3, 7, 12]]
    alone = {tuple(t): record(net, [t]).values.astype(float) for t in texts}
    size = np.sqrt(np.mean(np.square(np.concatenate(list(alone.values())))))

    @settings(max_examples=20, deadline=None)
    @given(st.permutations(texts), st.integers(1, 5), st.sampled_from(["left", "right"]))
    def check(order, batch_size, padding):
        found = record(net, order, batch_size=batch_size, padding=padding).values
        expected = np.concatenate([alone[tuple(t)] for t in order])
        assert np.abs(found - expected).max() < most * size

    check()


@pytest.mark.real
def test_batches_of_smollm2(smollm2):
    texts = ["The capital of France is Paris.", "When it rains,", "One and two and three make six"]
    sites = ["blocks.29.mlp.neurons", "blocks.29.resid_post"]
    for site in sites:
        one, all_ = (
            nissl.record(smollm2, texts, sites=site, batch_size=n, progress=False).values
            for n in (1, 3)
        )
        assert np.abs(one - all_).max() < 1e-3 * np.sqrt(np.mean(np.square(one, dtype=float)))


def activity(dtype):
    values = np.random.default_rng(0).standard_normal((40, 6)) * 50
    samples = {"side": np.arange(40) % 2, "trial": np.arange(40)}
    return as_recording(values.astype(dtype), samples=samples)


def finding(rec):
    return permutation_test(
        rec, "side", exchange="trial", test=Test(n_permutations=200, seed=1), progress=False
    )
