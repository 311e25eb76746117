"""All that a training run depends on, as values that are written beside its results.

The one thing a reader would get wrong: a run trains one stage. The second stage is a run of its own
that starts from the first one's weights (`start`). Nothing here imports torch.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class ModelSettings:
    """The network, and what stands around it."""

    start: str | None = None
    """Folder or hub id of the transformer to start from; None makes a new one of `transformer`."""
    subfolder: str | None = None
    """Where in `start` the transformer lies."""
    transformer: dict[str, Any] = field(default_factory=dict)
    """Arguments of `DualStreamTransformer`; over those of `start`."""
    autoencoder: str = "released"
    """released, embedded, tiny, a folder, or module:attribute of a callable that makes one."""
    text: Literal["released", "empty"] = "released"
    """Captions through the released T5, or the same zeros for every sample."""
    memory: bool = False
    """A second condition: points of the source's other moments in the target's cameras."""
    filled: bool = False
    """The render's classical completion is encoded in the render's place, beside the same mask."""
    weights: Path | None = None
    """Folder with the released weights; None: the Hugging Face cache."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third more time."""


@dataclass(frozen=True)
class DataSettings:
    """Where samples come from, and in which mix."""

    samples: tuple[Path, ...] = ()
    """Folders that `trajectorycrafter curate` wrote."""
    latents: tuple[Path, ...] = ()
    """Folders of cached latents, read instead of `samples`."""
    dynamic: float | None = None
    """Share of double-reprojection pairs; with both shares None kinds come as they are."""
    static: float | None = None
    """Share of static multi-view triplets."""
    batch: int = 1
    """Samples a process at once."""
    accumulation: int = 1
    """Batches a step."""
    workers: int = 0
    """Processes that read ahead; the stream is the same for any number."""
    variants: int = 0
    """Draws of the noise on a sample's condition before the autoencoder; 0: a new one each time."""


@dataclass(frozen=True)
class ObjectiveSettings:
    """The loss and its random draws; the defaults are those of CogVideoX-Fun."""

    prediction: Literal["v", "x0"] = "v"
    """The velocity, or the clean latents less those of the render (which small models learn)."""
    timesteps: Literal["uniform", "high"] = "uniform"
    """Uniform over 0..999, or half at 999 and the rest uniform over 400..999."""
    posterior: Literal["sample", "mode"] = "sample"
    """Autoencoder latents are drawn from the posterior, or are its mean."""
    noise_log_mean: float = -3.0
    """Mean of the log sigma of the noise on the condition, if the model's configuration has it."""
    noise_log_std: float = 0.5
    """Standard deviation of that log sigma."""
    drop_text: float = 0.1
    """How often the caption is replaced by the empty one."""
    drop_reference: float = 0.0
    """How often the reference's latents are zeros."""
    drop_condition: float = 0.0
    """How often the condition's latents are zeros."""
    drop_all_hole: float = 0.9
    """How often a condition without any seen pixel is zeros."""
    hole_weight: float = 1.0
    """Weight of the squared error where nothing was seen, over that of what was seen."""


@dataclass(frozen=True)
class OptimizerSettings:
    """Steps, rates and limits."""

    steps: int = 1000
    """Optimizer steps."""
    name: Literal["adamw", "muon"] = "adamw"
    """Muon orthogonalizes the blocks' matrices in float32; all else stays with AdamW."""
    lr: float = 2e-5
    """Of AdamW, after the warm-up."""
    muon_lr: float = 3e-3
    """Of Muon, after the warm-up."""
    warmup: int = 100
    """Steps over which rates rise from zero."""
    cooldown: int = 0
    """Steps at the end over which rates fall to zero."""
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 3e-2
    eps: float = 1e-10
    clip: float = 0.05
    """Norm that gradients are clipped to."""
    clip_start: float = 5.0
    """The limit falls to `clip` from so many times it ..."""
    clip_steps: int = 1000
    """... over so many steps; later, gradients of 5 times the limit are cut further."""
    ema: float | None = None
    """Decay of the moving average of the trained weights; None keeps none."""


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters instead of the whole weights."""

    rank: int = 64
    alpha: float = 64.0
    """The update is scaled by alpha / rank."""
    reference: bool = True
    """Also on the reference attentions."""


@dataclass(frozen=True)
class DistillSettings:
    """What a student of few steps learns from."""

    teacher: str
    """Folder or hub id of the teacher's transformer."""
    teacher_steps: int
    """Steps of the teacher over the whole schedule; a multiple of the student's."""
    student_steps: int
    """Steps that the student is made for."""
    guidance: float = 1.0
    """Text guidance of the teacher that the student takes in; 1 if it has taken it in already."""


@dataclass(frozen=True)
class LogSettings:
    """What is kept of a run, how often."""

    checkpoint_every: int = 500
    """Steps between checkpoints that a stopped run goes on from."""
    keep: int = 2
    """Checkpoints kept."""
    sample_every: int = 0
    """Steps between pictures of the same few samples; 0: none."""
    sample_count: int = 2
    """Samples in such a picture."""
    sample_steps: int = 20
    """Denoising steps for it."""


@dataclass(frozen=True)
class TrainSettings:
    """One stage of training, whole."""

    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    log: LogSettings = field(default_factory=LogSettings)
    trains: tuple[str, ...] = ("transformer_blocks",)
    """Beginnings of the names of what is trained; "" is everything."""
    reference: bool = True
    """Whether the reference branch runs."""
    lora: LoraSettings | None = None
    distill: DistillSettings | None = None
    seed: int = 0
    """Of the samples' order and of every draw."""
    device: Literal["auto", "cpu"] = "auto"
    """auto is accelerate's choice."""


@dataclass(frozen=True)
class TrainOptions:
    """A preset, and what the command line changes of it; None leaves the preset's value."""

    preset: str
    """5b-stage1, 5b-stage2, 5b-lora, tiny-stage1, ..., or a settings.json."""
    ablation: str = "none"
    """Of Table 3: no-reference, concatenate, no-dynamic or no-static."""
    samples: tuple[Path, ...] = ()
    """Folders that `curate` wrote."""
    latents: tuple[Path, ...] = ()
    """Folders that `encode` wrote, instead of samples."""
    start: str | None = None
    """Folder or hub id of the transformer to start from."""
    weights: Path | None = None
    """Folder with the released weights; default: the Hugging Face cache."""
    steps: int | None = None
    """Optimizer steps."""
    lr: float | None = None
    """Learning rate of AdamW."""
    batch: int | None = None
    """Samples a process at once."""
    accumulation: int | None = None
    """Batches a step."""
    workers: int | None = None
    """Processes that read ahead."""
    variants: int | None = None
    """Draws of the noise on each sample's condition; 0: a new one at each visit."""
    checkpoint_every: int | None = None
    """Steps between checkpoints."""
    sample_every: int | None = None
    """Steps between pictures; 0: none."""
    seed: int | None = None
    """Same seed, same samples and draws."""
    device: Literal["auto", "cpu"] | None = None
    """auto is accelerate's choice."""


MAY_CHANGE = ("optimizer.steps", "log", "data.workers", "device")
"""What a run that is gone on with may have differently."""


def changed(settings: TrainSettings, part: str, **values: Any) -> TrainSettings:
    """The settings with fields of one part replaced: `changed(s, "optimizer", lr=1e-4)`."""
    new: Any = replace(getattr(settings, part), **values)
    return replace(settings, **{part: new})
