"""Convolution nets without shortcuts: Keskar's C1 and C3, VGG, AlexNet, each for small images."""

from __future__ import annotations

from torch import Tensor, nn

from sgdnoise.ghost_norm import NormReLUSequential

VGG_LAYERS: dict[int, tuple[tuple[int, int], ...]] = {
    11: ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2)),
    13: ((64, 2), (128, 2), (256, 2), (512, 2), (512, 2)),
    16: ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)),
    19: ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)),
}
"""Depth to (channels, convolutions) of each stage: Simonyan & Zisserman 2014, A, B, D and E."""


class ShallowConvNet(NormReLUSequential):
    """C1 (10 classes) and C3 (100 classes): two 5×5 convolutions of 64, then 384, 192, classes.

    Two readings exist. `keskar=False` is H17's code: conv, max-pool 3/2 without padding, norm,
    ReLU; no bias beside a norm; 7×7 maps from 32×32 images; 1.39 and 1.41 M parameters.
    `keskar=True` is Keskar's own: conv, norm, ReLU, max-pool 3/2 padded ("same"); biases
    throughout; 8×8 maps; 1.76 and 1.78 M. Both have norm, ReLU and dropout 0.5 after each hidden
    linear layer, and torch's default initialisation.

    Raises:
        ValueError: the image is too small for the two pools.
    """

    def __init__(
        self,
        num_classes: int = 10,
        image: tuple[int, int, int] = (3, 32, 32),
        keskar: bool = False,
        batch_norm: bool = True,
    ) -> None:
        bias = keskar or not batch_norm
        channels, height, width = image
        layers: list[nn.Module] = []
        for _ in range(2):
            conv = nn.Conv2d(channels, 64, 5, padding=2, bias=bias)
            norm = [nn.BatchNorm2d(64)] if batch_norm else []
            pool = nn.MaxPool2d(3, 2, padding=1 if keskar else 0)
            layers += [conv, *norm, nn.ReLU(), pool] if keskar else [conv, pool, *norm, nn.ReLU()]
            channels = 64
            # floor((n + 2 p - 3) / 2) + 1
            height, width = ((n - 1 + 2 * keskar) // 2 for n in (height, width))
        if min(height, width) < 1:
            raise ValueError(f"images of {image[1]}×{image[2]} pixels are too small: 8×8 at least")
        layers.append(nn.Flatten())
        features = 64 * height * width
        for units in (384, 192):
            norm1 = [nn.BatchNorm1d(units)] if batch_norm else []
            layers += [nn.Linear(features, units, bias=bias), *norm1, nn.ReLU(), nn.Dropout(0.5)]
            features = units
        super().__init__(*layers, nn.Linear(features, num_classes))


class VGG(NormReLUSequential):
    """VGG-11, 13, 16 or 19 for 32×32 images: conv3-norm-ReLU, 2×2 max-pools, one linear layer.

    Known: H17 table 1 has a "VGG (Simonyan, 2014)" on CIFAR-10, and its "+GBN" column implies batch
    norm. Unknown: its depth and its classifier, for H17's repository has no VGG. This is a variant
    much used on CIFAR-10: after five pools one pixel is left, so a single linear layer stands for
    the 4096-4096 classifier. VGG-16 has 14,728,266 parameters. He fan-out initialisation.

    Raises:
        ValueError: another depth.
    """

    def __init__(
        self, depth: int, num_classes: int = 10, in_channels: int = 3, batch_norm: bool = True
    ) -> None:
        if depth not in VGG_LAYERS:
            raise ValueError(f"no VGG-{depth}: choose from {', '.join(map(str, VGG_LAYERS))}")
        layers: list[nn.Module] = []
        channels = in_channels
        for width, convolutions in VGG_LAYERS[depth]:
            for _ in range(convolutions):
                conv = nn.Conv2d(channels, width, 3, padding=1)
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                assert conv.bias is not None
                nn.init.zeros_(conv.bias)
                norm = [nn.BatchNorm2d(width)] if batch_norm else []
                layers += [conv, *norm, nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2))
        super().__init__(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)
        )


class AlexNetCifar(nn.Module):
    """AlexNet at 32×32: five convolutions, then FC1, FC2 of 4096 with dropout, and the classes.

    A smaller `hidden` makes all widths smaller in proportion.

    G20 say "AlexNet" on CIFAR-10, and speak of its first and second fully connected layers and of
    dropout. That rules out the one-layer CIFAR variants; torchvision's own net fails at 32×32, and
    images scaled up to 224 cost far more. So: torchvision's widths and classifier on small kernels
    and 2×2 pools, FC1 1024→4096 and FC2 4096→4096, 23,272,266 parameters. Which variant G20 ran is
    unknown. No norm; torch's default initialisation.

    `features` and `classifier` are named as in torchvision; G20's two layers are `classifier[1]`
    and `classifier[4]`.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 3, hidden: int = 4096) -> None:
        super().__init__()
        a, b, c, d = (width * hidden // 4096 for width in (64, 192, 384, 256))
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, a, 3, stride=2, padding=1), nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(a, b, 3, padding=1), nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(b, c, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(c, d, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(d, d, 3, padding=1), nn.ReLU(inplace=True),
            nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), nn.Linear(4 * d, hidden), nn.ReLU(inplace=True),
            nn.Dropout(0.5), nn.Linear(hidden, hidden), nn.ReLU(inplace=True),
            nn.Linear(hidden, num_classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))
