"""ComfyUI nodes: load a clip, its depth, a camera path, the render, the new video.

docs/use/comfyui.md says how ComfyUI finds them.
"""

from . import nodes

NODE_CLASS_MAPPINGS: dict[str, type] = {node.__name__: node for node in nodes.Node.__subclasses__()}
"""What ComfyUI reads: a class by its name in workflows."""
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {
    name: f"TrajectoryCrafter: {name.removeprefix('TrajectoryCrafter').lower()}"
    for name in NODE_CLASS_MAPPINGS
}
