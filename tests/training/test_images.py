"""The small image model: its first weights are the seed's, and bytes are read as numbers are."""

import torch
from torch import nn

import nissl
from nissl.training import small_image_model, standardised


def test_weights_are_those_of_the_seed_and_the_generator_of_torch_is_left_alone():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (small_image_model(seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), wanted)
    assert torch.equal(one.layer3[0].weight, same.layer3[0].weight)
    assert not torch.equal(one.layer3[0].weight, other.layer3[0].weight)


def test_it_computes_what_the_layers_do_one_after_another_and_has_four_sites():
    model = small_image_model(n_classes=3).eval()
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    x = torch.stack([(image.float() - 120) / 64 for image in images]).permute(0, 3, 1, 2)
    pool = nn.MaxPool2d(2)
    by_hand = model.layer4(pool(model.layer3(pool(model.layer2(model.layer1(x))))))
    logits = model.head(by_hand.flatten(2).mean(2))
    torch.testing.assert_close(model(images), logits)
    torch.testing.assert_close(model(standardised(images)), model(images), rtol=0, atol=0)
    sites = ["layer1", "layer2", "layer3", "layer4"]
    rec = nissl.record(nissl.load(model), images.numpy(), sites="layer4", progress=False)
    assert rec.sizes["unit"] == 256
    assert [net.name for net in nissl.load(model).find(sites)] == sites
