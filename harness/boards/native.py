"""How each method's authors train students on their own sets: the protocols `native:METHOD`.

A protocol does not say the loss, which stays the board's: what differs between two rows under one native protocol is then the
loss, and what differs under one loss is the protocol. Facts are those of the authors' released code, named in each docstring.
What authors do not say is taken from the nearest case that they do, and said there. Methods since 2024 are in `recent`.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.boards.cases import (
    CROP_FLIP,
    CUTMIX,
    DSA_SINGLE,
    MIXUP,
    Case,
    NativeProtocol,
    adamw,
    halved,
    on_weights,
    schedule,
    sgd,
)
from harness.boards.recent import RECENT
from harness.core.spec import Spec

#: What images are normalised by in place of their dataset's own statistics: mean and std of each of three channels, in [0, 1].
STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),  # of all pixels: CV-DD's, EDC's
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "sre2l": ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)),  # its authors' of Tiny-ImageNet
}


def sre2l(case: Case) -> NativeProtocol:
    """SRe2L: ImageNet-1K, Tiny-ImageNet and CIFAR-100 each its own way; other sets as CIFAR-100.

    Source: VILA-Lab/SRe2L (validate, small_dataset/relabel_cifar.py), zeyuanyin/tiny-imagenet (script/train_kd.sh). On
    ImageNet-1K weight decay is on weights only; on Tiny-ImageNet images are normalised by statistics of its own. The loss is KL
    at temperature 20 (30 on CIFAR-100; times T^2 on Tiny-ImageNet).
    """
    if case.family == "imagenet":
        return NativeProtocol(300, 1024, adamw(), Spec(name="cosine"), CROP_FLIP, CUTMIX)
    if case.family == "tiny-imagenet":
        warmed_up = schedule("warmup-cosine", warmup=5)
        return NativeProtocol(100, 256, sgd(lr=0.2, weight_decay=1e-4), warmed_up, CROP_FLIP, normalisation="sre2l")
    everywhere = Spec(name="adamw", options={"lr": 1e-3, "weight_decay": 0.01})
    return NativeProtocol(400, 128, everywhere, Spec(name="cosine"), "pad-crop(padding=4)+flip", MIXUP)


def cda(case: Case) -> NativeProtocol:
    """CDA: evaluated as SRe2L, whose relabelling its authors say they follow.

    Source: VILA-Lab/SRe2L (CDA/README.md).
    """
    return sre2l(case)


def rded(case: Case) -> NativeProtocol:
    """RDED: AdamW, half a cosine at half speed, patch shuffle, crops down to a tile, CutMix; batch by IPC.

    Source: LINs-lab/RDED (argument.py, validation). The batch is 10, 50 or 100 at IPC 1, 10 or 50 (in between: the next one
    up), doubled for 100 or 1000 classes, always 100 on Tiny-ImageNet, and never above the number of images. Its code also has
    rates of its own for EfficientNet-B0 (2e-3), MobileNet-V2 (2.5e-3) and ViT and Swin (1e-4), and batch 25 at 2e-3 for
    ConvNet-3 on ConvNet-3's CIFAR-100 sets: name the optimizer to have those. CIFAR's images are
    normalised by ImageNet's statistics there. Its loop calls the student once more in every step, for the accuracy that it
    prints: batch-norm statistics move twice a step there, once here. The loss is KL at temperature 20.
    """
    batch = 10 if case.ipc <= 1 else 50 if case.ipc <= 10 else 100
    batch = 100 if case.family == "tiny-imagenet" else batch * 2 if case.classes in (100, 1000) else batch
    crop = f"random-resized-crop(min_scale={1 / case.factor!r})"
    augmentation = f"patch-shuffle(factor={case.factor})+{crop}+flip" if case.factor > 1 else f"{crop}+flip"
    normalisation = "imagenet" if case.dataset in ("cifar10", "cifar100") else "dataset"
    half = Spec(name="cosine-to-half")
    return NativeProtocol(300, min(batch, case.images), adamw(), half, augmentation, CUTMIX, normalisation)


def datm(case: Case) -> NativeProtocol:
    """DATM: SGD at the set's own learning rate, a tenth of it from half on, DSA with one family a batch.

    Source: NUS-HPC-AI-Lab/DATM (distill/evaluation.py), which reads the rate from lr_best.pt. Of 1,001 epochs 502 have the full
    rate, as in VICO's code, which this and the next two rest on; there momentum begins anew with the smaller rate, here it goes
    on. The loss is soft cross-entropy.
    """
    rate = case.learning_rate
    return NativeProtocol(1001, 128, None if rate is None else sgd(lr=rate), halved(case), DSA_SINGLE)


def mtt(case: Case) -> NativeProtocol:
    """MTT: as DATM with batches of 256; learning rate 0.01 where the set states none.

    Source: GeorgeCazenavette/mtt-distillation (distill.py, utils.py). It evaluates at the learned rate, which it does not save
    beside the images; 0.01 is where learning starts. The loss is cross-entropy.
    """
    return NativeProtocol(1001, 256, sgd(lr=case.learning_rate or 0.01), halved(case), DSA_SINGLE)


def tesla(case: Case) -> NativeProtocol:
    """TESLA: evaluated as MTT, on whose code it is built; the loss is soft cross-entropy where its labels are soft.

    Source: GeorgeCazenavette/mtt-distillation.
    """
    return mtt(case)


def dc(case: Case) -> NativeProtocol:
    """DC, DSA and DM: SGD at 0.01, a tenth of it from half on, batches of 256, DSA with one family a batch.

    Source: VICO-UoE/DatasetCondensation (main.py, main_DM.py): 1000 epochs where images are augmented, as DSA and DM do. DC
    itself trains 300 epochs on images as they are: epochs = 301, augmentation = "none". The loss is cross-entropy.
    """
    return NativeProtocol(1001, 256, sgd(lr=0.01), halved(case), DSA_SINGLE)


def gvbsm(case: Case) -> NativeProtocol:
    """G-VBSM: SGD on CIFAR-100 and Tiny-ImageNet, AdamW on CIFAR-10 and ImageNet-1K, crops, CutMix; batch by dataset.

    Source: shaoshitong/G_VBSM_Dataset_Condensation (train.sh and train_FKD.py of each branch). Other small sets are trained as
    CIFAR-10, or as CIFAR-100 from 100 classes on. The loss is MSE + w CE, w = 0.15 on CIFAR and 0.1 elsewhere. Its CE looks at
    an image's own label only, ours at the partner's too.
    """
    cosine = Spec(name="cosine")
    if case.family == "imagenet":
        return NativeProtocol(300, 1024, adamw(), cosine, CROP_FLIP, CUTMIX)
    sgd = on_weights("sgd", lr=0.1, weight_decay=5e-4)
    if case.family == "tiny-imagenet":
        return NativeProtocol(100, 100, sgd, cosine, CROP_FLIP, CUTMIX)
    if case.classes >= 100:
        return NativeProtocol(1000, 64, sgd, cosine, CROP_FLIP, CUTMIX)
    return NativeProtocol(1000, 100, adamw(weight_decay=0.0), cosine, CROP_FLIP, CUTMIX)


#: The protocol `native:NAME` of each.
NATIVE_PROTOCOLS: dict[str, Callable[[Case], NativeProtocol]] = {
    f"native:{protocol.__name__.replace('_', '-')}": protocol
    for protocol in (rded, sre2l, cda, gvbsm, datm, mtt, tesla, dc, *RECENT)
}


def missing(name: str) -> str:
    """Return why a native protocol left the optimizer open, and what to do."""
    return (
        f"protocol {name!r} trains at the distilled set's own learning rate, and the set states none (provenance 'lr'); "
        'give the protocol an optimizer, such as "sgd(lr=0.01)"'
    )
