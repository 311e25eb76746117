"""The released modes, gradual, direct, bullet and zoom, as index arrays for any number of frames.

The one thing a reader would get wrong: an output frame has two indices, the source frame it shows
and the pose of the move it is seen from. A mode pairs them; it renders nothing.
"""

import math
from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Int
from torch import Tensor

from .interpolation import check_frames, interpolate
from .trajectories import MOTION_FIELDS, Trajectory

Mode = Literal["gradual", "direct", "bullet", "zoom"]

RELEASED_REFERENCES = 10
"""Source frames that the released system shows to its reference stream."""
RELEASED_CUT = 20
"""Frames that the released direct mode spends on the move before the clip starts to play."""
RELEASED_ZOOM = 0.5
"""Final focal factor of the released zoom mode (500 to 250 pixels)."""


class ModeIndices(NamedTuple):
    """What a mode shows: per output frame a source frame and a pose, and the reference frames."""

    source_frame: Int[Tensor, " T"]
    pose: Int[Tensor, " T"]
    reference_frames: Int[Tensor, " R"] | None


def mode_indices(
    mode: Mode,
    frames: int,
    source_frames: int,
    *,
    moment: int | None = None,
    hold: int = RELEASED_CUT,
    references: int | None = RELEASED_REFERENCES,
) -> ModeIndices:
    """The released modes as index arrays, for any number of output frames.

    gradual and zoom: source i at pose i. direct: source 0 at poses 0..hold-1, then the clip plays
    at the last pose. bullet: one moment at pose i.

    Args:
        source_frames: frames of the clip.
        moment: source frame that bullet holds; None = the last, as released.
        hold: frames of the direct mode's move.
        references: how many reference frames: the first ones, in bullet those about the moment (the
            last ones, as released, if that is the last); None = leave the choice open.

    Raises:
        ValueError: unknown mode, a moment or length that the clip does not have.
    """
    i = torch.arange(check_frames(frames))
    if mode not in get_args(Mode):
        raise ValueError(f"Unknown mode {mode!r}; expected one of {', '.join(get_args(Mode))}.")
    if moment is not None and (mode != "bullet" or not 0 <= moment < source_frames):
        raise ValueError(
            f"moment is the source frame 0..{source_frames - 1} that mode bullet holds; got "
            f"{moment} in mode {mode}."
        )
    source_frame, pose, first = i, i, 0
    if mode == "direct":
        if hold < 1:
            raise ValueError(f"hold is the number of frames of the move, at least 1; got {hold}.")
        # The frame after the move shows source 0 as well: the released cut is i - hold.
        source_frame, pose = (i - hold).clamp_min(0), i.clamp_max(hold - 1)
    elif mode == "bullet":
        held = source_frames - 1 if moment is None else moment
        source_frame = torch.full_like(i, held)
        count = min(references or 0, source_frames)
        first = min(max(held - count // 2, 0), source_frames - count)
    if int(source_frame.max()) >= source_frames:
        raise ValueError(
            f"Mode {mode} with {frames} output frames needs {int(source_frame.max()) + 1} source "
            f"frames; the clip has {source_frames}. Ask for fewer frames, or use mode bullet."
        )
    chosen = (
        None if references is None else torch.arange(first, min(first + references, source_frames))
    )
    return ModeIndices(source_frame, pose, chosen)


def with_mode(
    trajectory: Trajectory,
    mode: Mode,
    source_frames: int,
    *,
    frames: int | None = None,
    moment: int | None = None,
    hold: int = RELEASED_CUT,
    final_zoom: float = RELEASED_ZOOM,
    couple_dolly: bool = True,
    references: int | None = RELEASED_REFERENCES,
) -> Trajectory:
    """The same camera move in one of the released modes; see `mode_indices`.

    Args:
        source_frames: frames of the clip.
        frames: output frames; None = as many as the trajectory has.
        hold: in mode direct the whole move is retimed into this many frames.
        final_zoom: focal factor that mode zoom reaches, linearly from 1.
        couple_dolly: mode zoom moves the camera so that things at the pivot keep their size
            (dolly = 1 - zoom); False keeps the trajectory's own dolly, as the released mode does.

    Raises:
        ValueError: as `mode_indices`; final_zoom <= 0.
    """
    frames = len(trajectory) if frames is None else frames
    index = mode_indices(
        mode, frames, source_frames, moment=moment, hold=hold, references=references
    )
    moving = trajectory.retimed(hold if mode == "direct" else frames)
    changes: dict[str, object] = {name: getattr(moving, name)[index.pose] for name in MOTION_FIELDS}
    if moving.absolute is not None:
        changes["absolute"] = moving.absolute[index.pose]
    if mode == "zoom":
        if not (math.isfinite(final_zoom) and final_zoom > 0):
            raise ValueError(f"final_zoom is a focal factor > 0; got {final_zoom}.")
        zoom = interpolate([0, 1], [1.0, final_zoom], frames, "linear")
        changes["zoom"] = zoom
        if couple_dolly:
            changes["dolly"] = 1 - zoom
    return replace(
        moving, source_frame=index.source_frame, reference_frames=index.reference_frames, **changes
    )
