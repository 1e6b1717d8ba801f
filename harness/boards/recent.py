"""How authors since 2024 train students on their own sets: protocols `native:METHOD` beside those of `harness.boards.native`.

Facts are those of the authors' released code, named in each docstring. What that does not say is taken from the nearest case that
it does, and said there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness.boards.cases import CROP_FLIP, CUTMIX, Case, NativeProtocol, adamw, on_weights, schedule, sgd
from harness.boards.stages import Stage
from harness.core.spec import Spec

HALF_CROP_FLIP = "random-resized-crop(min_scale=0.5)+flip"
#: torchvision's own RandAugment, as `transforms.RandAugment()` is.
TORCHVISION = "torchvision-rand-augment(operations=2, magnitude=9)"

#: Learning rate and how many times the epochs the cosine takes, by dataset and student, at IPC 1, 10 and 50.
Table = Mapping[str, Mapping[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]]]
FADRM: Table = {
    "cifar100": {
        "resnet18": ((5e-4, 2), (1e-3, 2), (1e-3, 1)),
        "resnet50": ((1e-3, 1), (1e-3, 2), (1e-3, 1)),
        "resnet101": ((5e-4, 1), (5e-4, 1), (5e-4, 1)),
    },
    "tiny-imagenet": {
        "resnet18": ((1e-3, 2), (1e-3, 2), (1e-3, 1)),
        "resnet50": ((5e-4, 2), (5e-4, 2), (5e-4, 1)),
        "resnet101": ((5e-4, 2), (5e-4, 2), (5e-4, 1)),
    },
    "imagewoof": {
        "resnet18": ((5e-4, 2), (5e-4, 1), (1e-3, 2)),
        "resnet50": ((5e-4, 2), (5e-3, 1), (5e-4, 1)),
        "resnet101": ((1e-3, 1), (5e-4, 2), (5e-4, 1)),
    },
    "imagenette": {
        "resnet18": ((5e-4, 2), (5e-4, 1), (5e-4, 2)),
        "resnet50": ((5e-4, 2), (5e-4, 1), (5e-4, 1)),
        "resnet101": ((5e-4, 2), (5e-4, 2), (1e-3, 2)),
    },
    "imagenet-1k": {
        "resnet18": ((1e-3, 2), (1e-3, 2), (1e-3, 1)),
        "resnet50": ((5e-4, 2), (1e-3, 2), (1e-3, 1)),
        "resnet101": ((3.5e-3, 2), (1e-3, 2), (5e-4, 1)),
        "mobilenet-v2": ((1e-3, 2), (1e-3, 2), (1e-3, 2)),
        "densenet121": ((1e-3, 2), (1e-3, 2), (1e-3, 2)),
    },
}
CVDD: Table = {
    "cifar10": {
        "resnet18": ((1e-3, 1), (1e-3, 1), (1e-3, 1)),
        "resnet50": ((1e-3, 1), (1e-3, 1), (1e-3, 1)),
        "resnet101": ((5e-4, 1), (5e-4, 1), (5e-4, 1)),
    },
    "cifar100": {
        "resnet18": ((1e-3, 1), (1e-3, 2), (1e-3, 1)),
        "resnet50": ((1e-3, 1), (1e-3, 2), (1e-3, 1)),
        "resnet101": ((5e-4, 1), (5e-4, 1), (5e-4, 1)),
    },
    "tiny-imagenet": {
        "resnet18": ((1e-3, 2), (1e-3, 1), (1e-3, 2)),
        "resnet50": ((1e-3, 1), (1e-3, 1), (1e-3, 1)),
        "resnet101": ((5e-4, 2), (5e-4, 2), (5e-4, 2)),
    },
    "imagenette": {
        "resnet18": ((5e-4, 2), (5e-4, 1), (5e-4, 2)),
        "resnet50": ((5e-4, 2), (1e-3, 1), (5e-4, 1)),
        "resnet101": ((5e-4, 2), (5e-4, 2), (1e-3, 2)),
    },
    "imagenet-1k": {
        "resnet18": ((1e-3, 2), (1e-3, 2), (1e-3, 1)),
        "resnet50": ((1e-3, 2), (1e-3, 2), (1e-3, 1)),
        "resnet101": ((1e-3, 2), (1e-3, 2), (5e-4, 2)),
    },
}


def edc(case: Case) -> NativeProtocol:
    """EDC: the mean of the weights is tested but on ImageNet-1K; a smoothed cosine, crops down to a half, CutMix.

    Source: shaoshitong/EDC (train.sh, train_FKD_parallel.py and direct_train.py of each branch). ImageNet-1K has patch shuffle of
    factor 2 and no mean of the weights in that code; CIFAR and Tiny-ImageNet have SGD but for CIFAR-10. CIFAR-10 is stated at
    IPC 1 alone, with batches of 10; other small sets are trained as CIFAR-10, or as CIFAR-100 from 100 classes on. The loss is
    MSE + 0.025 CE against the mean of the teachers' logits; its CE looks at an image's own label only, ours at the partner's too.
    """
    smoothed, bent = schedule("smoothed-cosine", factor=2.0), schedule("cosine-then-line", factor=2.0)
    if case.family == "imagenet" and case.classes >= 1000:
        return NativeProtocol(300, 100, adamw(), smoothed, f"patch-shuffle(factor=2)+{HALF_CROP_FLIP}", CUTMIX)
    crops = f"{TORCHVISION}+{HALF_CROP_FLIP}"
    descent = on_weights("sgd", lr=0.1, momentum=0.875, weight_decay=5e-4)
    if case.family == "imagenet":
        own = NativeProtocol(300, 50, adamw(), bent, crops, CUTMIX)
    elif case.family == "tiny-imagenet":
        own = NativeProtocol(1000 if case.ipc <= 1 else 300, 100, descent, smoothed, crops, CUTMIX, "sre2l")
    elif case.classes >= 100:
        own = NativeProtocol(1000, 50, descent, bent, crops, CUTMIX, _own(case))
    else:
        falls = schedule("multistep", milestones=["4/5", "9/10", "19/20"], gamma=0.5)
        own = NativeProtocol(1000, 10 if case.ipc <= 1 else 50, adamw(), falls, f"{TORCHVISION}+{CROP_FLIP}", CUTMIX, _own(case))
    return replace(own, ema=0.99, ranks="ema")


def delt(case: Case) -> NativeProtocol:
    """DELT: as RDED, with timm's RandAugment and crops down to a quarter; the rate by student, the batch by IPC.

    Source: VILA-Lab/DELT (evaluation/argument.py, validation/main.py, scripts). The batch is RDED's; half of it for ResNet-101 on
    ImageNet-1K and ImageNet-100. CIFAR's images are normalised by ImageNet's statistics there. Its loop, as RDED's, calls the
    student once more in every step. Its RandAugment states no interpolation, so that timm draws bilinear or bicubic for each
    operation; here pixels move bilinearly. The loss is KL at temperature 20.
    """
    batch = 10 if case.ipc <= 1 else 50 if case.ipc <= 20 else 100
    batch = 100 if case.family == "tiny-imagenet" else batch * 2 if case.classes in (100, 1000) else batch
    if case.family == "imagenet" and case.classes in (100, 1000) and case.model == "resnet101":
        batch //= 2
    rates = {"efficientnet-b0": 2e-3, "mobilenet-v2": 2.5e-3, "swin-v2-tiny": 1e-4, "timm/vit_base_patch16_224": 1e-4}
    normalisation = "imagenet" if case.dataset in ("cifar10", "cifar100") else "dataset"
    augmentation = "rand-m6-n2-mstd1.0+random-resized-crop(min_scale=0.25)+flip"
    rate = rates.get(case.model, 1e-3)
    half = schedule("cosine-to-half")
    return NativeProtocol(300, min(batch, case.images), adamw(lr=rate), half, augmentation, CUTMIX, normalisation)


def cv_dd(case: Case) -> NativeProtocol:
    """CV-DD: batches of 16 in two parts, rate and cosine by dataset, student and IPC, crops, CutMix.

    Source: Jiacheng8/CV-DD (validate/train_fkd.py, validate/scripts). Students that its table lacks are trained as its ResNet-18,
    other datasets as ImageNette or as CIFAR-100, an IPC between as the nearest one it has. The loss is KL at temperature 20
    against stored labels of an ensemble.
    """
    rate, factor = _settings(CVDD, case)
    cosine = schedule("smoothed-cosine", factor=float(factor))
    return NativeProtocol(300, 16, adamw(lr=rate), cosine, CROP_FLIP, CUTMIX, _own(case), accumulation=2)


def fadrm(case: Case) -> NativeProtocol:
    """FADRM: as CV-DD with a table of its own; 1,000 epochs on CIFAR-100, batches of 10 on ImageNette and ImageWoof.

    Source: Jiacheng8/FADRM (validate/train_fkd.py, validate/scripts). Batches pass in two parts but on ImageNet-1K; Tiny-ImageNet
    has 1,000 epochs at IPC 1. What its table lacks is as in CV-DD. The loss is KL at temperature 20 against stored labels.
    """
    rate, factor = _settings(FADRM, case)
    small = case.family == "small" or (case.family == "tiny-imagenet" and case.ipc <= 1)
    batch = 10 if case.family == "imagenet" and case.classes < 1000 else 16
    parts = 1 if case.family == "imagenet" and case.classes >= 1000 else 2
    cosine = schedule("smoothed-cosine", factor=float(factor))
    epochs = 1000 if small else 300
    return NativeProtocol(epochs, batch, adamw(lr=rate), cosine, CROP_FLIP, CUTMIX, _own(case), accumulation=parts)


def hald(case: Case) -> NativeProtocol:
    """HALD: a quarter of the epochs soft labels, half of them hard ones smoothed by 0.8, a quarter soft ones again.

    Source: Jiacheng8/HALD (validate/train_fkd.py with setting S6, hyper.yaml, scripts): 75, 150 and 75 epochs, CutMix in all of
    them. Rate and cosine are FADRM's. Its hard stage drops the last image of an odd batch, and pairs images in reverse order. The
    loss of soft labels is KL at temperature 20, of hard ones cross-entropy.
    """
    rate, factor = _settings(FADRM, case)
    epochs = case.epochs or 300
    soft = epochs // 2
    lengths = (soft // 2, epochs - soft, soft - soft // 2)
    kinds = ({"soft": lengths[0]}, {"hard": lengths[1], "smoothing": 0.8}, {"soft": lengths[2]})
    stages = tuple(Stage.model_validate(kind) for kind, length in zip(kinds, lengths, strict=True) if length)
    cosine = schedule("smoothed-cosine", factor=float(factor))
    return NativeProtocol(epochs, 16, adamw(lr=rate), cosine, CROP_FLIP, CUTMIX, _own(case), stages=stages)


def lpqld(case: Case) -> NativeProtocol:
    """LPQLD: AdamW, a cosine, batches of 128, crops, CutMix, on stored labels that were pruned and quantised.

    Source: he-y/soft-label-pruning-quantization-for-dataset-distillation (train_FKD_LPQLD.py, cfg/reproduce). Every epoch its
    batches are drawn anew from those that are stored. The loss is `calibrated_kl`: KL, the temperature of the labels falls from
    20 to 2 by a factor of 0.7 every 30 epochs, that of the student is searched after each epoch, between 0.01 and 1, on its last
    batch. On Tiny-ImageNet that code takes logarithms for its labels, a slip that is not followed.
    """
    normalisation = "sre2l" if case.family == "tiny-imagenet" else "dataset"
    return NativeProtocol(300, 128, adamw(lr=1e-3), schedule("cosine"), CROP_FLIP, CUTMIX, normalisation)


def ncfm(case: Case) -> NativeProtocol:
    """NCFM: AdamW halved at each fifth of 2,000 epochs, DSA, half of the batches mixed by CutMix.

    Source: gszfwsb/NCFM (condenser/evaluate.py, config of its first release). Tiny-ImageNet has 300 epochs, and 40 at IPC 50. The
    mosaics that it stores are decoded before: its reader does. The loss is cross-entropy; the paper's number is the best of an
    evaluation every hundred epochs, the mean of ten trainings.
    """
    epochs = 2000
    if case.family == "tiny-imagenet":
        epochs = 300 if case.ipc < 50 else 40
    fifths = schedule("multistep", milestones=["1/5", "2/5", "3/5", "4/5"], gamma=0.5)
    everywhere = Spec(name="adamw", options={"lr": 1e-3, "weight_decay": 0.01})
    return NativeProtocol(epochs, 128, everywhere, fifths, DSA_MULTIPLE, HALF_CUTMIX)


def minimax(case: Case) -> NativeProtocol:
    """Minimax, IGD and VLCP: IDC's evaluation by SGD, epochs by IPC, crops down to a half, colour jitter, CutMix always.

    Source: vimar-gu/MinimaxDiffusion (argument.py, data.py, train.py); students are `resnetap10`, `convnet6(norm=instance)` and
    `resnet18`. 100 classes have two thirds of the epochs; above them the rate is 0.1, weight decay 1e-4, the batch 128. CIFAR
    and other small sets have 1,000 epochs, DSA without cutout and CutMix on half of the batches. The loss is cross-entropy.
    """
    falls = schedule("multistep", milestones=["2/3", "5/6"], gamma=0.2)
    if case.family == "small":
        return NativeProtocol(1000, 64, sgd(lr=0.01), falls, DSA_WITHOUT_CUTOUT, HALF_CUTMIX)
    images = case.ipc * case.factor**2
    epochs = next((epochs for most, epochs in IDC_EPOCHS if images <= most), 300)
    if case.classes == 100:
        epochs = int(2 / 3 * epochs) // 100 * 100
    many = case.classes > 100
    descent = sgd(lr=0.1, weight_decay=1e-4) if many else sgd(lr=0.01)
    return NativeProtocol(epochs, 128 if many else 64, descent, falls, f"{HALF_CROP_FLIP}+{JITTER}", CUTMIX)


#: Epochs by images a class, up to so many.
IDC_EPOCHS = ((1, 3000), (10, 2000), (50, 1500), (200, 1000), (500, 500))
#: What IDC's code does to images of ImageNet after it has cropped and mirrored them.
JITTER = "color-jitter(strength=0.4)+lighting(deviation=0.1)"
DSA_MULTIPLE = "color_crop_cutout_flip_scale_rotate"
DSA_WITHOUT_CUTOUT = "color_crop_flip_scale_rotate"
HALF_CUTMIX = "cutmix(alpha=1.0, probability=0.5)"
RECENT = (edc, delt, cv_dd, fadrm, hald, lpqld, ncfm, minimax)


def _own(case: Case) -> str:
    """Return the statistics of CIFAR that these authors' code has: of all pixels, not the mean over images' deviations."""
    return case.dataset if case.dataset in ("cifar10", "cifar100") else "dataset"


def _settings(table: Table, case: Case) -> tuple[float, float]:
    """Return rate and factor of the cosine: the table's nearest row by dataset, student and IPC."""
    datasets = {"imagenet": "imagenet-1k" if case.classes >= 100 else "imagenette", "tiny-imagenet": "tiny-imagenet"}
    students = table.get(case.dataset) or table[datasets.get(case.family, "cifar100")]
    name = case.model.removesuffix("-modified").removeprefix("timm/")
    rows = students.get(name) or students["resnet18"]
    return rows[0 if case.ipc < 10 else 1 if case.ipc < 50 else 2]
