"""How far a job is, from the stages that it names and the seconds they were expected to take.

The expectation is rough; what counts is that the share of the whole only grows, and that the
seconds left follow the speed seen so far.
"""

from dataclasses import dataclass, field
from pathlib import Path

from ..config.redirect import RedirectSettings
from ..job.generation import windows
from ..job.plan import planned
from ..job.reshoot import check_run
from ..runtime.stages import stage_name

# Seconds per pixel and frame of the stages that `plan` leaves out, measured on two cores.
_READ, _CLOUD, _WRITE_RENDER, _WRITE, _COMPARE = 0.06e-6, 0.23e-6, 0.35e-6, 0.27e-6, 0.2e-6
_UNKNOWN_S = 10.0
"""For a stage whose cost is not known, such as a plug-in's depth estimator."""
_NEARLY = 0.95
"""A stage that takes longer than expected stays at this share, so that its end is still a step."""


@dataclass(frozen=True)
class JobProgress:
    """How far a running job is."""

    stage: str
    """As `redirect` names it."""
    fraction: float
    """Share of the expected time, 0 to 1."""
    seconds_left: float | None
    """None until the plan is known."""


def expected_seconds(
    clip: Path, settings: RedirectSettings, render_only: bool = False, known_depth: bool = False
) -> dict[str, float]:
    """The stages of a run in their order, and about how many seconds each will take."""
    inputs = check_run(clip, settings, render_only=render_only)
    size, frames = inputs.choice.output_size(inputs.info.height, inputs.info.width), inputs.frames
    pixels = frames * size[0] * size[1]
    plan = planned(settings, frames, frames, size, render_only=render_only)
    long = {step.stage: step.seconds for step in plan}
    stages = {
        "read": pixels * _READ,
        "depth": pixels * _READ if known_depth else long.get("depth", _UNKNOWN_S),
        "source cameras": _UNKNOWN_S if settings.camera.source == "colmap" else 0.1,
        "point cloud": pixels * _CLOUD,
        "render": long["render"],
        "write the render": pixels * _WRITE_RENDER,
    }
    if not render_only:
        if "fill" in long:
            stages["fill"] = long["fill"]
        released = settings.generator.family == "released"
        if released and settings.generator.prompt is None:
            stages["caption"] = _UNKNOWN_S
        pieces = len(windows(frames)) if released else 1
        for piece in range(pieces):
            stages[stage_name("generate", piece)] = long["generate"] / pieces
        stages["write"] = pixels * _WRITE
    stages["compare"] = pixels * _COMPARE
    return {name: max(seconds, 0.05) for name, seconds in stages.items()}


@dataclass
class Track:
    """The stages of one run as they pass by."""

    expected: dict[str, float] = field(default_factory=dict)
    """Seconds of each stage, in their order."""
    stage: str = "start"
    began: float = 0.0
    """When the current stage began, in seconds of any clock."""
    ended: dict[str, float] = field(default_factory=dict)
    """Seconds that the stages before it took."""
    _furthest: float = 0.0

    def enter(self, stage: str, now: float) -> None:
        self.ended[self.stage] = now - self.began
        self.stage, self.began = stage, now

    def progress(self, now: float) -> JobProgress:
        if not self.expected:
            return JobProgress(self.stage, 0.0, None)
        total = sum(self.expected.values())
        passed = [name for name in self.expected if name in self.ended]
        expected = sum(self.expected[name] for name in passed)
        took = sum(self.ended[name] for name in passed)
        done = expected + min(now - self.began, _NEARLY * self.expected.get(self.stage, 0.0))
        self._furthest = max(self._furthest, min(done / total, 1.0))
        # Seconds that an expected second took so far; less than one second tells nothing.
        slowness = took / expected if expected > 1 and took > 0 else 1.0
        return JobProgress(self.stage, self._furthest, slowness * (total - done))
