"""Configurations of a training run: one frozen dataclass, and the presets that people begin with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from fauxto.errors import ConfigError
from fauxto.mapping import bounded, checked_values, from_mapping, nearest, parse_toml, read_toml, to_dict, to_toml

__all__ = [
    "PRESETS", "TrainConfig", "bounded", "from_mapping", "nearest", "parse_toml", "preset", "preset_values", "read_toml",
    "to_dict", "to_toml",
]  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training run does; the defaults are the classroom notebook's recipe.

    Every value is checked, however the object is made, so that no impossible configuration exists.

    Attributes:
        model: Name in ``models.factory``.
        backbone: What a "frozen" model takes its features from: "timm:MODEL", "open_clip:MODEL/PRETRAINED", or the path of an
            ONNX file (``models.backbones``).
        head: What is trained on these features: "linear" (logistic regression) or "mlp" (one hidden layer).
        pool: What a backbone in an ONNX file that answers with tokens gives: "cls", the first, or the "mean" of the others.
        normalisation: Mean and spread of the pixels that a backbone in an ONNX file wants; the others bring their own.
        input_size: Side of the square that an ONNX file of no fixed size sees, in pixels; 0 takes 224.
        views: Pictures of each training image that a head learns from; all but the first are cut out and perturbed by chance.
        balanced: Whether, to a head, both classes weigh alike, and within a class all generators; with guests, of the validation
            part alone.
        fit: How an image becomes the network's square (``preprocess.PreprocessSpec``).
        stem: How "resnet18" begins: "imagenet" (7x7 stride 2, max-pool) or "cifar" (3x3 stride 1, no max-pool).
        split: "official" keeps the data's own test part; "notebook" draws 80/20 and 80/20 from everything.
        subset: Stratified share of the training part to use, in (0, 1].
        limit: At most so many training images, stratified; 0 means all.
        validation_share: Share of the training part that picks epoch and calibration.
        test_share: Share of all images that the "notebook" split keeps for testing.
        batch_size: Images per step and process; batch normalisation cannot learn from one alone.
        optimizer: "adam", or "muon" for the inner convolutions (``training.optimizers``) and Adam for the rest.
        learning_rate: The optimizer's largest step size.
        weight_decay: Decoupled from the gradient, times the step size.
        schedule: "constant", or "one-cycle": linearly up to ``learning_rate``, then down to 0 along a cosine over ``max_epochs``.
        warmup_share: Share of all steps in which "one-cycle" goes up.
        label_smoothing: Certain labels become this and 1 minus this.
        teacher_weight: Share of a teacher's answer in what a training image's label becomes; without a teacher it means nothing.
        ema_decay: Per step, of the averaged weights that validate and are kept; 0 keeps the last weights instead.
        horizontal_flip: Probability of mirroring a training image.
        shift: A training image is moved by at most so many pixels, its border filled by reflection.
        crop: Side of the random cut-out that the network sees at first, in pixels; 0 shows whole images from the beginning. It
            costs less, and a fully convolutional network does not mind.
        crop_share: Share of the epochs in which it sees cut-outs.
        recode: JPEG quality at which every image is saved before the network sees it, later too; 0 leaves images as they are.
        recode_from: An image that this would change by less (``preprocess.PreprocessSpec``) stays as it is.
        recode_share: Share of training images that are so saved; below 1, the finished detector sees images as they are, and has
            learned both.
        jitter: How far sharpness and contrast of these are moved before, where they were not JPEG (``data.loaders.jittered``).
        main_share: Share of a batch's photographs and of its fakes that come from the main data, where guests joined them.
        left_out: Families of the guests' fakes that validate and do not train.
        mirrored: Whether the finished detector, where its answer is not certain, asks about the mirror image too and answers with
            the mean.
        perturb_share: Share of training images that are compressed, blurred, resized and so on (``fauxto.perturb``).
        max_epochs: Where training ends at the latest.
        patience: Epochs without a better validation loss before training stops.
        seed: Decides split, first weights, order and augmentation.
        split_seed: Decides the split in place of ``seed``, so that several runs share it; -1 leaves it to ``seed``.
        device: "cpu", "cuda", "mps", or "auto", which takes the fastest that is there.
        n_devices: Processes that share one run on this machine; torchrun's own number goes before it.
        precision: "32-true", "bf16-mixed", or "auto", which takes bf16 where the device computes in it.
        channels_last: Let the colours of a pixel lie side by side in memory, which some convolutions like better.
        n_threads: CPU threads; 0 takes torch's own choice.
        checkpoint_every_s: Seconds between two resumable checkpoints inside an epoch; 0 writes one after every step.

    Example:
        >>> TrainConfig(batch_size=32).learning_rate
        0.0005
    """

    model: Literal["resnet18", "evidence", "routed", "general", "frozen"] = "resnet18"
    backbone: str = ""
    head: Literal["linear", "mlp"] = "linear"
    pool: Literal["cls", "mean"] = "cls"
    normalisation: Literal["clip", "imagenet", "half"] = "clip"
    input_size: int = bounded(0, low=0, high=4096)
    views: int = bounded(1, low=1, high=100)
    balanced: bool = False
    fit: Literal["resize", "centre"] = "resize"
    stem: Literal["imagenet", "cifar"] = "imagenet"
    split: Literal["official", "notebook"] = "official"
    subset: float = bounded(1.0, low=0, high=1, above_low=True)
    limit: int = bounded(0, low=0)
    validation_share: float = bounded(0.2, low=0.01, high=0.9)
    test_share: float = bounded(0.2, low=0.01, high=0.9)
    batch_size: int = bounded(16, low=2, high=65536)
    optimizer: Literal["adam", "muon"] = "adam"
    learning_rate: float = bounded(5e-4, low=0, high=10, above_low=True)
    weight_decay: float = bounded(0.0, low=0, high=10)
    schedule: Literal["constant", "one-cycle"] = "constant"
    warmup_share: float = bounded(0.15, low=0, high=0.9)
    label_smoothing: float = bounded(0.0, low=0, high=0.4)
    teacher_weight: float = bounded(0.7, low=0, high=1)
    ema_decay: float = bounded(0.0, low=0, high=0.99999)
    horizontal_flip: float = bounded(0.5, low=0, high=1)
    shift: int = bounded(0, low=0, high=16)
    crop: int = bounded(0, low=0, high=4096)
    crop_share: float = bounded(0.5, low=0, high=1)
    recode: int = bounded(0, low=0, high=100)
    recode_from: float = bounded(0.0, low=0, high=255)
    recode_share: float = bounded(1.0, low=0, high=1)
    jitter: float = bounded(0.0, low=0, high=1)
    main_share: float = bounded(0.5, low=0, high=1)
    left_out: tuple[str, ...] = ()
    mirrored: bool = False
    perturb_share: float = bounded(0.0, low=0, high=1)
    max_epochs: int = bounded(30, low=1, high=100_000)
    patience: int = bounded(3, low=1)
    seed: int = bounded(0, low=0, high=2**63 - 1)
    split_seed: int = bounded(-1, low=-1, high=2**63 - 1)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    n_devices: int = bounded(1, low=1)
    precision: Literal["32-true", "bf16-mixed", "auto"] = "32-true"
    channels_last: bool = False
    n_threads: int = bounded(0, low=0, high=4096)
    checkpoint_every_s: float = bounded(60.0, low=0)

    def __post_init__(self) -> None:
        """Refuse what ``from_mapping`` refuses; a whole number given for a float becomes one."""
        for key, value in checked_values(type(self), dataclasses.asdict(self)).items():
            object.__setattr__(self, key, value)
        if self.model != "resnet18" and self.stem != "imagenet":
            raise ConfigError(f"stem = {self.stem!r} belongs to model 'resnet18', not to {self.model!r}: leave it out")
        if self.backbone and self.model != "frozen":
            raise ConfigError(f"a backbone belongs to model 'frozen', not to {self.model!r}: leave one of them out")
        if self.model == "frozen" and self.mirrored:
            raise ConfigError("a head on a frozen backbone knows no mirror images: set mirrored = false")
        if (self.jitter and self.recode_share == 1) or (self.recode_share < 1 and not self.recode):
            raise ConfigError("jitter needs recode_share below 1, and that a recode above 0: give all three, or none of them")
        if self.model in ("routed", "general") and (self.crop or self.shift):
            raise ConfigError(
                f"model {self.model!r} looks for the codec's grid, which cutting and moving lose: set crop and shift to 0"
            )

    @property
    def drawn_by(self) -> int:
        """The seed that decides the split."""
        return self.seed if self.split_seed < 0 else self.split_seed


_FAST: dict[str, Any] = {
    "model": "evidence", "optimizer": "muon", "learning_rate": 0.02, "weight_decay": 0.05, "schedule": "one-cycle",
    "label_smoothing": 0.05, "ema_decay": 0.998, "crop": 24, "batch_size": 256, "validation_share": 0.1,
    "precision": "auto", "channels_last": True,
}  # fmt: skip
_SEEN: dict[str, Any] = {"recode": 75, "recode_from": 4.0, "mirrored": True}
PRESETS: dict[str, dict[str, Any]] = {
    "notebook": {},
    "notebook-cifar-stem": {"stem": "cifar"},
    # Patience as long as the run: a learning rate that still falls is no reason to stop.
    "fast": _FAST | {"max_epochs": 9, "patience": 9, "crop_share": 0.56},
    "best": _FAST | _SEEN | {"max_epochs": 20, "patience": 20, "perturb_share": 0.5, "shift": 1},
    # Goes on from a finished run of "best" (--init).
    "routed": _FAST | _SEEN | {"model": "routed", "max_epochs": 4, "patience": 4, "perturb_share": 0.15}
    | {"crop": 0, "learning_rate": 0.01, "warmup_share": 0.1},
    # Goes on from a finished run of "routed" (--init), with guests (--forge, --generators).
    "general": _FAST | {"model": "general", "max_epochs": 5, "patience": 5, "crop": 0, "batch_size": 192, "label_smoothing": 0.0}
    | {"recode": 75, "recode_from": 4.0, "recode_share": 0.5, "jitter": 0.8, "perturb_share": 0.3, "main_share": 0.3}
    | {"mirrored": True, "fit": "centre"},
    # On features that others trained (--backbone): whole photographs would be shrunk, and what tells them apart is in the pixels.
    "frozen": {"model": "frozen", "fit": "centre", "balanced": True, "main_share": 0.3},
}  # fmt: skip


def preset(name: str, **changes: Any) -> TrainConfig:
    """Return a named configuration with changes on top.

    Raises:
        ConfigError: The name or a change is unknown or impossible.

    Example:
        >>> preset("notebook", seed=3).batch_size
        16
    """
    return from_mapping(TrainConfig, preset_values(name) | changes)


def preset_values(name: str) -> dict[str, Any]:
    """Return a preset's value of every key in which presets differ.

    Raises:
        ConfigError: The name is unknown.

    Example:
        >>> preset_values("notebook")["stem"], preset_values("best")["stem"], preset_values("best")["shift"]
        ('imagenet', 'imagenet', 1)
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset is called {name!r}{nearest(name, PRESETS)}")
    defaults = TrainConfig()
    keys = sorted({key for values in PRESETS.values() for key in values})
    return {key: getattr(defaults, key) for key in keys} | PRESETS[name]
