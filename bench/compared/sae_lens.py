"""SAELens: activity encoded by a dictionary; one of its features ablated; one trained."""

from __future__ import annotations

from typing import Any

from bench.compared.task import Given, Task, Work, language_model, network

N_FEATURES, K, BATCH, STEPS = 2304, 32, 2048, 20
ENCODED = 4096


def encode_theirs(given: Given) -> Work:
    """``SAE.encode``."""
    import torch
    from sae_lens import SAE

    sae = SAE.load_from_disk(given.folder / "sae")
    x = torch.from_numpy(given["acts"][:ENCODED])

    def work() -> Any:
        with torch.no_grad():
            return sae.encode(x)

    return work


def encode_ours(given: Given) -> Work:
    """``encode`` of the same files."""
    import torch

    import nissl

    sae = nissl.features.load(given.folder / "sae")
    x = torch.from_numpy(given["acts"][:ENCODED])

    def work() -> Any:
        with torch.no_grad():
            return sae.encode(x)

    return work


def ablate_theirs(given: Given) -> Work:
    """A bridge with the dictionary in it, its error kept, and a hook."""
    import torch
    from sae_lens import SAE
    from sae_lens.analysis.sae_transformer_bridge import SAETransformerBridge

    bridge = SAETransformerBridge.boot_transformers(
        given.model, device="cpu", dtype=torch.float32, hf_model=language_model(given)
    )
    sae, ids = SAE.load_from_disk(given.folder / "sae"), torch.from_numpy(given["tokens"])
    bridge.add_sae(sae, use_error_term=True)
    name, feature = bridge.get_sae_hook_name(sae), int(given["feature"])

    def without(features: Any, hook: Any) -> Any:
        features[..., feature] = 0
        return features

    def work() -> Any:
        with torch.inference_mode():
            plain = bridge(ids)[:, -1].clone()
            return bridge.run_with_hooks(ids, fwd_hooks=[(name, without)])[:, -1] - plain

    return work


def ablate_ours(given: Given) -> Work:
    """An edit of the site that the dictionary makes."""
    import torch

    import nissl

    sae, ids = nissl.features.load(given.folder / "sae"), torch.from_numpy(given["tokens"])
    net = network(given).with_dictionary(sae)
    edit = nissl.ablate(f"blocks.15.resid_post.sae[{int(given['feature'])}]")

    def work() -> Any:
        with torch.inference_mode():
            plain = net.model(input_ids=ids, use_cache=False).logits[:, -1].clone()
            with net.edit(edit):
                return net.model(input_ids=ids, use_cache=False).logits[:, -1] - plain

    return work


def train_theirs(given: Given) -> Work:
    """``SAETrainer`` of TopK."""
    import torch
    from sae_lens import LoggingConfig, TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    x = torch.from_numpy(given["acts"])
    scale = x.var(0, correction=0).mean().sqrt()  # as ours is scaled
    how = SAETrainerConfig(
        total_training_samples=STEPS * BATCH,
        train_batch_size_samples=BATCH,
        lr=1e-3,
        lr_decay_steps=STEPS // 5,
        lr_end=0.0,
        logger=LoggingConfig(log_to_wandb=False),
    )

    def batches() -> Any:
        generator = torch.Generator().manual_seed(0)
        while True:
            for rows in torch.randperm(len(x), generator=generator).split(BATCH):
                if len(rows) == BATCH:
                    yield x[rows] / scale

    def work() -> Any:
        torch.manual_seed(0)
        made = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=x.shape[1], d_sae=N_FEATURES, k=K))
        sae: Any = SAETrainer(cfg=how, sae=made, data_provider=batches()).fit()
        with torch.no_grad():
            return explained(x, sae(x / scale) * scale)

    return work


def train_ours(given: Given) -> Work:
    """``features.sae``."""
    import torch

    import nissl

    rec = nissl.recording.as_recording(given["acts"])
    x = torch.from_numpy(given["acts"])
    how = nissl.features.Schedule(samples=STEPS * BATCH, batch_size=BATCH, cache=False)

    def work() -> Any:
        sae = nissl.features.sae(
            rec, n_features=N_FEATURES, k=K, schedule=how, progress=False
        ).eval()
        with torch.no_grad():
            return explained(x, sae(x))

    return work


def explained(x: Any, y: Any) -> float:
    """Return the share of the variance that is explained."""
    return float(1 - (x - y).square().sum() / (x - x.mean(0)).square().sum())


TASKS = [
    Task(
        "encode 4,096 activations of 576 units as 2,304 features", encode_theirs, encode_ours, 1e-3
    ),
    Task(
        "ablate one feature over 512 tokens, and the change of the logits",
        ablate_theirs,
        ablate_ours,
        1e-2,
        note="a forward pass without and one with",
    ),
    Task(
        "train TopK, 576 to 2,304, k 32: 20 updates of 2,048",
        train_theirs,
        train_ours,
        0.1,
        rounds=2,
        note="other first weights and schedules: what is compared is the variance explained",
    ),
]
