"""The papers' nets: parameter counts against references, shapes, structure, seeds."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sgdnoise.data.torchvision_compat import torchvision
from sgdnoise.errors import InputError
from sgdnoise.ghost_norm import GhostBatchNorm
from sgdnoise.models import build, count_parameters, he_normal_mlp_init, names, spec
from sgdnoise.models.registry import MODELS
from sgdnoise.models.residual import PostActivationBlock, PreActivationBlock

LIGHT = ["digits-mlp", "f1", "c1", "c3-keskar", "resnet20", "wrn-10-1", "wrn-16-1", "vgg11"]
LIGHT += ["lstm-small", "autoencoder"]


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("f1", 1_462_794),
        ("f1-64", 5 * (65 * 64 + 2 * 64) + 65 * 10),
        ("resnet44", 661_338),
        ("wrn-16-4", 2_748_890),
        ("wrn-28-10", 36_479_194),  # as published with the WRN code: 36.5 M
        ("resnet18", 11_173_962),  # kuangliu's
        ("digits-mlp", 65 * 64 + 65 * 10),
    ],
)
def test_parameter_counts_of_the_references(name: str, count: int) -> None:
    assert count_parameters(build(name)) == count


@pytest.mark.parametrize(
    ("name", "millions", "digits"),
    [("c1", 1.39, 2), ("c3", 1.41, 2), ("c1-keskar", 1.76, 2), ("c3-keskar", 1.78, 2),
     ("alexnet-cifar", 23.3, 1)],
)  # fmt: skip
def test_parameter_counts_known_in_millions(name: str, millions: float, digits: int) -> None:
    assert round(count_parameters(build(name)) / 1e6, digits) == millions


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_vgg_has_torchvisions_features(depth: int) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"vgg{depth}_bn")(init_weights=False).features
    expected = sum(p.numel() for p in theirs.parameters()) + 512 * 10 + 10
    assert count_parameters(build(f"vgg{depth}")) == expected


def test_torchvisions_nets_have_their_documented_sizes() -> None:
    documented = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.meta["num_params"]
    assert count_parameters(build("resnet50")) == documented
    documented = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.meta["num_params"]
    assert count_parameters(build("alexnet")) == documented


def test_alexnet_for_cifar_has_torchvisions_widths() -> None:
    ours, theirs = build("alexnet-cifar"), torchvision.models.alexnet(num_classes=10)

    def widths(net: nn.Module) -> list[int]:
        return [m.weight.shape[0] for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]

    assert widths(ours) == widths(theirs)
    small = widths(build("alexnet-cifar-512"))
    assert [8 * width for width in small[:-1]] == widths(theirs)[:-1]
    assert small[-1] == 10


@pytest.mark.parametrize(
    ("name", "units"), [("lstm-small", 200), ("lstm-medium", 650), ("lstm-large", 1500)]
)
def test_the_lstms_count_and_range(name: str, units: int) -> None:
    net = build(name, num_classes=50)
    gates = 2 * 4 * units * (units + units + 2)
    assert count_parameters(net) == 50 * units + gates + 50 * units + 50
    bound = {200: 0.1, 650: 0.05, 1500: 0.04}[units]
    largest = max(p.abs().max().item() for p in net.parameters())
    assert 0.98 * bound < largest <= bound
    rate = {200: 0.0, 650: 0.5, 1500: 0.65}[units]
    assert net.dropout.p == net.lstm.dropout == rate


def example(name: str, batch: int = 4) -> torch.Tensor:
    model = spec(name)
    if name.startswith("lstm"):
        return torch.randint(model.num_classes, (batch, 6))
    return torch.randn(batch, *model.input_shape)


CASES = [(name, norm) for name in LIGHT for norm in spec(name).norms]
CASES += [("alexnet-cifar", "none"), ("resnet18", "ghost"), ("h17-wrn-16-4", "batch")]


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_output_shape_and_gradient_reaches_every_parameter(name: str, norm: str) -> None:
    torch.manual_seed(0)
    net = build(name, norm=norm, ghost_batch_size=2, seed=1)
    if norm == "none":
        # At initialisation SkipInit's scalars shut the branches off on purpose.
        for parameter in net.parameters():
            if parameter.dim() == 0:
                parameter.data.fill_(0.5)
    out = net(example(name))
    if name.startswith("lstm"):
        out, state = out
        assert out.shape == (4, 6, 10_000)
        assert [s.shape for s in state] == [(2, 4, 200)] * 2
    elif name == "autoencoder":
        assert out.shape == (4, 784)
    else:
        assert out.shape == (4, spec(name).num_classes)
    out.square().mean().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        if norm == "none" or not key.endswith("bias"):  # a norm takes the bias before it away
            assert parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_a_seed_fixes_the_weights_and_touches_nothing_else(name: str, norm: str) -> None:
    before = torch.random.get_rng_state()
    one, two, other = (build(name, norm=norm, seed=s) for s in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    generator = torch.Generator().manual_seed(3)
    from_generator = build(name, norm=norm, generator=generator)
    assert not torch.equal(generator.get_state(), torch.Generator().manual_seed(3).get_state())
    for p, q, r in zip(
        one.parameters(), two.parameters(), from_generator.parameters(), strict=True
    ):
        assert torch.equal(p, q)
        assert torch.equal(p, r)
        assert p.dtype == torch.float32
        assert p.device.type == "cpu"
    assert any(
        not torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True)
    )
    two.load_state_dict(other.state_dict())
    x = example(name)
    results = [net.eval()(x) for net in (two, other)]
    if name.startswith("lstm"):
        results = [r[0] for r in results]
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_ghost_and_batch_norm_share_weights_and_states() -> None:
    batch, ghost = build("wrn-10-1", norm="batch"), build("wrn-10-1", norm="ghost")
    torch.testing.assert_close(batch.state_dict(), ghost.state_dict(), rtol=0, atol=0)
    kinds = [type(m) for m in ghost.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert kinds == [GhostBatchNorm] * 7
    x = torch.randn(64, 3, 8, 8)
    torch.testing.assert_close(ghost(x), batch(x), rtol=1e-3, atol=1e-4)  # 64 is one ghost
    assert not torch.allclose(build("wrn-10-1", norm="ghost", ghost_batch_size=16)(x), batch(x))


def test_the_digits_mlp_can_be_initialised_by_anyone() -> None:
    net = build("digits-mlp", seed=7)
    state = he_normal_mlp_init((64, 64, 10), torch.Generator().manual_seed(7))
    torch.testing.assert_close(dict(net.state_dict()), state, rtol=0, atol=0)
    x = torch.randn(5, 64)
    hidden = (x @ state["layers.0.weight"].T + state["layers.0.bias"]).clamp(min=0)
    expected = hidden @ state["layers.1.weight"].T + state["layers.1.bias"]
    torch.testing.assert_close(net(x), expected)
    wide = he_normal_mlp_init((400, 1000, 10), torch.Generator().manual_seed(0))
    # 400,000 draws: the std is known to 1/sqrt(800,000) = 0.11%, five of those are allowed
    std = wide["layers.0.weight"].std().item()
    assert math.isclose(std, math.sqrt(2 / 400), rel_tol=6e-3)
    assert not wide["layers.0.bias"].any()


def test_a_shape_change_is_shortcut_from_the_activated_input() -> None:
    block = PreActivationBlock(4, 8, 2, batch_norm=True)
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(6, 4, 8, 8)
    active = F.relu(F.batch_norm(x, None, None, training=True))
    torch.testing.assert_close(block(x), F.conv2d(active, block.shortcut.weight, stride=2))
    assert block.shortcut.weight.shape == (8, 4, 1, 1)
    same = PreActivationBlock(4, 4, 1, batch_norm=True)
    nn.init.zeros_(same.conv2.weight)
    torch.testing.assert_close(same(x), x)  # the raw input, not the activated one
    assert same.shortcut is None


def test_h17s_blocks_act_after_the_sum_and_norm_their_shortcut() -> None:
    block = PostActivationBlock(4, 8, 2, batch_norm=True)
    nn.init.zeros_(block.norm2.weight)
    x = torch.randn(6, 4, 8, 8)
    shortcut = F.batch_norm(
        F.conv2d(x, block.shortcut[0].weight, stride=2), None, None, training=True
    )
    torch.testing.assert_close(block(x), F.relu(shortcut))
    same = PostActivationBlock(4, 4, 1, batch_norm=True)
    nn.init.zeros_(same.norm2.weight)
    torch.testing.assert_close(same(x), F.relu(x))
    net = build("h17-wrn-16-4")
    assert net.stem.out_channels == 64
    assert [b.conv1.out_channels for b in net.blocks] == [64, 64, 128, 128, 256, 256]


def test_the_wide_resnets_stages() -> None:
    net = build("wrn-16-4")
    assert [b.conv1.in_channels for b in net.blocks] == [16, 64, 64, 128, 128, 256]
    assert [b.conv1.stride[0] for b in net.blocks] == [1, 1, 2, 1, 2, 1]
    assert all(m.bias is None for m in net.modules() if isinstance(m, nn.Conv2d))
    assert net.head.dropout.p == 0
    x = torch.randn(4, 3, 8, 8)
    features = F.batch_norm(net.blocks(net.stem(x)), None, None, training=True)
    expected = net.head.fc(features.clamp(min=0).mean((2, 3)))
    torch.testing.assert_close(net(x), expected)
    for size in (16, 32):
        assert net.stem.out_channels == 16
        assert (
            net.blocks(net.stem(torch.randn(2, 3, size, size))).shape == (2, 256) + (size // 4,) * 2
        )


@pytest.mark.parametrize("name", ["wrn-16-1", "resnet20"])
def test_skipinit_is_its_shortcuts_at_first(name: str) -> None:
    net = build(name, norm="none")
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.modules())
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert all(m.bias is not None and not m.bias.any() for m in convolutions)
    assert [b.scale.shape for b in net.blocks] == [()] * len(net.blocks)
    assert all(b.scale.item() == 0 and b.scale.requires_grad for b in net.blocks)
    assert net.head.dropout.p == 0.6
    x = torch.randn(3, net.blocks[0].conv1.in_channels, 8, 8).relu()
    torch.testing.assert_close(net.blocks[0](x), x, rtol=0, atol=0)
    block, scaled = net.blocks[0], 0.7
    branch = block.conv2(F.relu(block.conv1(x)))
    block.scale.data.fill_(scaled)
    expected = x + scaled * branch
    torch.testing.assert_close(block(x), expected if "wrn" in name else expected.relu())
    widening = next(b for b in reversed(net.blocks) if b.shortcut is not None).conv1  # 32 -> 64
    assert math.isclose(widening.weight.std().item(), math.sqrt(2 / (9 * 32)), rel_tol=0.03)


def test_with_batch_norm_initialisation_is_he_fan_out() -> None:
    weight = build("wrn-10-4").blocks[1].conv1.weight  # 64 -> 128
    assert math.isclose(weight.std().item(), math.sqrt(2 / (9 * 128)), rel_tol=0.02)


def test_both_readings_of_c1() -> None:
    ours, keskar = build("c1"), build("c1-keskar")

    def kinds(net: nn.Module) -> str:
        letters = {nn.Conv2d: "c", nn.MaxPool2d: "p", nn.BatchNorm2d: "n", nn.ReLU: "r"}
        return "".join(letters.get(type(m), "") for m in list(net)[:8])

    assert kinds(ours) == "cpnrcpnr"
    assert kinds(keskar) == "cnrpcnrp"
    for net, pixels, biases in ((ours, 7, [False] * 4), (keskar, 8, [True] * 4)):
        layers = [m for m in net if isinstance(m, nn.Conv2d | nn.Linear)]
        assert layers[2].in_features == 64 * pixels**2
        assert [m.bias is not None for m in layers] == [*biases, True]
        assert [m.p for m in net if isinstance(m, nn.Dropout)] == [0.5, 0.5]
    for name, size in itertools.product(("c1", "c1-keskar"), (8, 16, 17, 28)):
        assert build(name, input_shape=(1, size, size))(torch.randn(2, 1, size, size)).shape == (
            2,
            10,
        )


def test_the_autoencoder_is_logistic_but_for_its_code() -> None:
    net = build("autoencoder", seed=0)
    assert [layer.out_features for layer in net.layers] == [
        1000, 500, 250, 30, 250, 500, 1000, 784
    ]  # fmt: skip
    for layer in net.layers:
        assert (layer.weight != 0).sum(1).unique().tolist() == [15]
        assert not layer.bias.any()
    x = torch.rand(3, 1, 28, 28)
    hidden = x.reshape(3, 784)
    for layer in net.layers[:3]:
        hidden = 1 / (1 + (-layer(hidden)).exp())
    hidden = net.layers[3](hidden)
    for layer in net.layers[4:]:
        hidden = 1 / (1 + (-layer(hidden)).exp())
    torch.testing.assert_close(net(x), hidden)


def test_the_lstm_carries_its_state() -> None:
    net = build("lstm-small", num_classes=20, seed=0)
    tokens = torch.randint(20, (2, 10))
    whole, _ = net(tokens)
    first, state = net(tokens[:, :6])
    second, _ = net(tokens[:, 6:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    assert not torch.allclose(net(tokens[:, 6:])[0], second)


def test_other_class_counts_and_shapes() -> None:
    assert build("wrn-10-1", num_classes=100)(torch.randn(2, 3, 16, 16)).shape == (2, 100)
    assert build("resnet44", input_shape=(1, 28, 28)).stem.in_channels == 1
    assert build("digits-mlp", input_shape=(1, 8, 8))(torch.randn(2, 1, 8, 8)).shape == (2, 10)
    assert build("c3", num_classes=7)[-1].out_features == 7
    assert build("c3")[-1].out_features == 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "wrn-17-4"}, "6 n \\+ 4"),
        ({"name": "wrn-4-4"}, "6 n \\+ 4"),
        ({"name": "wrn-16-0"}, "unknown model"),
        ({"name": "resnet45"}, "choose from .*resnet44.*wrn-D-K"),
        ({"name": "digits-mlp", "norm": "batch"}, "no norm 'batch'"),
        ({"name": "resnet50", "norm": "none"}, "no norm 'none'"),
        ({"name": "wrn-10-1", "norm": "layer"}, "no norm 'layer'"),
        ({"name": "wrn-10-1", "num_classes": 1}, "at least 2"),
        ({"name": "autoencoder", "num_classes": 10}, "no classes"),
        ({"name": "wrn-10-1", "norm": "ghost", "ghost_batch_size": 1}, "ghost batch size"),
        ({"name": "vgg16", "input_shape": (3, 16, 16)}, "32×32"),
        ({"name": "wrn-10-1", "input_shape": (64,)}, "channels, height, width"),
        ({"name": "digits-mlp", "input_shape": (0,)}, "input shape"),
        ({"name": "alexnet", "input_shape": (1, 224, 224)}, "3 channels"),
        ({"name": "wrn-10-1", "seed": 1, "generator": torch.Generator()}, "not both"),
    ],
)
def test_bad_input_is_refused_in_a_line(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build(arguments.pop("name"), **arguments)
    assert "\n" not in str(caught.value)


def test_every_listed_name_builds_from_its_spec() -> None:
    assert set(names()) >= set(MODELS)
    assert {"f1", "c1", "c3", "resnet44", "alexnet", "resnet18", "resnet50"} <= set(MODELS)
    with torch.device("meta"):
        for name, model in MODELS.items():
            if name not in {"digits-mlp", "autoencoder"}:  # these draw tensors, not layers
                made = model.make(model.num_classes or 0, model.input_shape, "batch" in model.norms)
                assert count_parameters(made) > 0
