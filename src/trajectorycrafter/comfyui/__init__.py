"""ComfyUI nodes: load a clip, its depth, a camera path, the render, the new video.

The one thing a reader would get wrong: the nodes are not written but made, from the signatures and
settings of `calls.py`; docs/use/comfyui.md says how ComfyUI finds them.
"""

from ..geometry.presets import PRESETS
from . import calls
from .nodes import node

NODE_CLASS_MAPPINGS: dict[str, type] = {
    "TrajectoryCrafterLoad": node(calls.load, returns=("frames", "fps")),
    "TrajectoryCrafterDepth": node(calls.depth, returns=("depth", "picture")),
    "TrajectoryCrafterTrajectory": node(
        calls.trajectory,
        returns=("trajectory",),
        choices={"camera": tuple(PRESETS)},
        without=("radius", "source"),  # of the render
    ),
    "TrajectoryCrafterRender": node(calls.render, returns=("render", "visible", "shot")),
    "TrajectoryCrafterGenerate": node(calls.generate, returns=("frames",)),
}
"""What ComfyUI reads: a class by its name in workflows."""
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {
    name: f"TrajectoryCrafter: {name.removeprefix('TrajectoryCrafter').lower()}"
    for name in NODE_CLASS_MAPPINGS
}
