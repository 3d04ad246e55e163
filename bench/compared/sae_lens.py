"""SAELens: activity encoded by a dictionary; one of its features ablated; one trained."""

from __future__ import annotations

from typing import Any

from bench.compared.task import Given, Task, Work, language_model, network

N_FEATURES, K, BATCH, STEPS, LEARNING_RATE = 2304, 32, 2048, 5, 1e-4
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
    sae, ids = SAE.load_from_disk(given.folder / "sae"), torch.from_numpy(given["tokens"][:1, :128])
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

    sae, ids = (
        nissl.features.load(given.folder / "sae"),
        torch.from_numpy(given["tokens"][:1, :128]),
    )
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

    x, weights = _begin(given)
    how = SAETrainerConfig(
        total_training_samples=STEPS * BATCH,
        train_batch_size_samples=BATCH,
        lr=LEARNING_RATE,
        lr_end=LEARNING_RATE,
        logger=LoggingConfig(log_to_wandb=False),
    )
    about = TopKTrainingSAEConfig(
        d_in=x.shape[1], d_sae=N_FEATURES, k=K, rescale_acts_by_decoder_norm=False
    )

    def work() -> Any:
        made = TopKTrainingSAE(about)
        made.load_state_dict({name: w.clone() for name, w in weights.items()})
        steps = (x[rows] for rows in _rows(len(x)))
        sae: Any = SAETrainer(cfg=how, sae=made, data_provider=steps).fit()
        with torch.no_grad():
            return _explained(x, sae(x))

    return work


def train_ours(given: Given) -> Work:
    """The loss of `features.sae` in the training loop."""
    import torch

    from nissl.features import TopK, TrainedDictionary
    from nissl.features.fit import dictionary_loss
    from nissl.training import train

    x, weights = _begin(given)
    rows = _rows(len(x))
    turned = {"w_enc": weights["W_enc"].T, "w_dec": weights["W_dec"]}
    turned |= {name: weights[name] for name in ("b_enc", "b_dec")}

    def work() -> Any:
        made = TrainedDictionary(TopK(K), N_FEATURES, x.shape[1])
        made.load_state_dict({name: w.clone() for name, w in turned.items()}, strict=False)
        train(
            made,
            lambda step: (x[rows[step]],),
            loss=dictionary_loss,
            steps=STEPS,
            optimiser="adam",
            learning_rate=LEARNING_RATE,
            cache=False,
            progress=False,
        )
        with torch.no_grad():
            return _explained(x, made.eval()(x))

    return work


def _begin(given: Given) -> tuple[Any, dict[str, Any]]:
    """Return activity of unit variance, and the dictionary's weights for that."""
    import torch
    from safetensors.torch import load_file

    x, found = (
        torch.from_numpy(given["acts"]),
        load_file(given.folder / "sae/sae_weights.safetensors"),
    )
    scale = (x - x.mean(0)).square().mean().sqrt()
    powers = {"W_enc": 1, "b_enc": 0, "W_dec": -1, "b_dec": -1}
    return x / scale, {name: found[name] * scale**power for name, power in powers.items()}


def _rows(n: int) -> list[Any]:
    """Return which samples each update is given."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return [torch.randperm(n, generator=generator)[:BATCH] for _ in range(STEPS)]


def _explained(x: Any, y: Any) -> float:
    """Return the share of the variance that is explained."""
    return float(1 - (x - y).square().sum() / (x - x.mean(0)).square().sum())


TASKS = [
    Task(
        "encode 4,096 activations of 576 units as 2,304 features", encode_theirs, encode_ours, 1e-3
    ),
    Task(
        "ablate one feature over 128 tokens, and the change of the logits",
        ablate_theirs,
        ablate_ours,
        1e-2,
        note="a forward pass without and one with",
    ),
    Task(
        "train TopK, 576 to 2,304, k 32: 5 updates of 2,048",
        train_theirs,
        train_ours,
        1e-2,
        rounds=2,
        note="from the same weights, on the same batches: the variance explained is compared",
    ),
]
