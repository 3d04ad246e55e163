"""Two processes that train together are one with the whole batch."""

import os
import sys

import numpy as np
import torch
from torch import nn

from nissl.features import Schedule, sae
from nissl.recording import as_recording
from nissl.training import Batches, train


def both(n_processes, rank, path, out):
    """Train a small network and a dictionary, and keep their weights."""
    torch.set_num_threads(1)
    if n_processes > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{path}", rank=rank, world_size=n_processes
        )
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 6, generator=generator)
    model = nn.Linear(6, 3)
    for weights in model.parameters():
        nn.init.zeros_(weights)
    how = {"steps": 20, "learning_rate": 0.01, "cache": False, "progress": False}
    done = train(
        model,
        Batches(x, x[:, :3].relu(), batch_size=16),
        loss=lambda m, batch: (m(batch[0]) - batch[1]).square().mean(),
        **how,
    )
    rec = as_recording(np.random.default_rng(0).standard_normal((600, 8)).astype(np.float32))
    schedule = Schedule(samples=30 * 64, batch_size=64, cache=False)
    found = sae(rec, n_features=12, k=2, schedule=schedule, progress=False)
    if rank == 0:
        torch.save([*done.model.parameters(), *found.parameters()], out)
    if n_processes > 1:
        torch.distributed.barrier()  # none leaves while the other still speaks
        torch.distributed.destroy_process_group()


def start(rank, path, out):
    """Start one of two; gloo is to ask no name server for this machine."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    both(2, rank, path, out)
    os._exit(0)  # gloo's own threads may abort while the interpreter is taken down


def test_two_processes_are_one_with_the_whole_batch(tmp_path):
    both(1, 0, None, tmp_path / "one.pt")
    torch.multiprocessing.spawn(start, (tmp_path / "meet", tmp_path / "two.pt"), nprocs=2)
    one, two = (torch.load(tmp_path / f"{name}.pt") for name in ("one", "two"))
    assert len(one) == 6
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
