"""Draw a mesh scene with OpenGL, off screen: color, and depth at the pixel centers.

Color is drawn larger and averaged, depth is drawn apart at the picture's own size, so that each
depth value is that of one surface at the pixel center.

Needs `moderngl` and EGL (a software driver such as Mesa's llvmpipe is enough).
"""

import math
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from ....geometry.cameras import Cameras, intrinsics, static_cameras
from ..shared import Color, Vector
from .motion import Bend, Matrix, Motion
from .shapes import Part

NEAR, FAR = 0.05, 400.0
"""Meters within which things are drawn."""
SHADOW_SIZE = 1024

VERTEX = """#version 330
uniform mat4 model; uniform mat4 camera; uniform mat4 shadow;
in vec3 in_position; in vec3 in_normal; in vec2 in_uv;
out vec3 position; out vec3 normal; out vec2 uv; out vec4 in_shadow; out float z;
void main() {
  vec4 world = model * vec4(in_position, 1.0);
  position = world.xyz; normal = transpose(inverse(mat3(model))) * in_normal; uv = in_uv;
  in_shadow = shadow * world; gl_Position = camera * world; z = gl_Position.w;
}"""
COLOR = """#version 330
uniform sampler2D image; uniform sampler2D shadow_map;
uniform vec3 tint; uniform float shine; uniform float glow; uniform float exposure;
uniform bool linear;
uniform vec3 eye; uniform vec4 light; uniform vec3 light_color; uniform vec3 above;
uniform vec3 below;
in vec3 position; in vec3 normal; in vec2 uv; in vec4 in_shadow;
out vec4 color;
float lit() {
  vec3 s = in_shadow.xyz / in_shadow.w * 0.5 + 0.5;
  if (in_shadow.w <= 0.0 || any(lessThan(s, vec3(0))) || any(greaterThan(s, vec3(1)))) return 1.0;
  float sum = 0.0;
  for (int i = 0; i < 9; i++) {
    vec2 o = vec2(i % 3 - 1, i / 3 - 1) / SHADOW_SIZE;
    sum += s.z < texture(shadow_map, s.xy + o).r ? 1.0 / 9.0 : 0.0;
  }
  return sum;
}
void main() {
  vec4 t = texture(image, uv);
  if (t.a < 0.5) discard;
  vec3 albedo = pow(t.rgb * tint, vec3(2.2));
  vec3 n = normalize(normal), to_eye = normalize(eye - position);
  if (dot(n, to_eye) < 0.0) n = -n;
  vec3 l = light.xyz - position * light.w;
  float far = light.w > 0.0 ? 1.0 + 0.06 * dot(l, l) : 1.0;
  l = normalize(l);
  float direct = max(dot(n, l), 0.0) * lit() / far;
  float gloss = shine * direct * pow(max(dot(n, normalize(l + to_eye)), 0.0), 30.0);
  vec3 c = albedo * (mix(below, above, 0.5 + 0.5 * n.y) + light_color * direct);
  c = exposure * (glow > 0.0 ? glow * albedo : c + gloss * light_color);
  if (!linear) c = pow(clamp(c * (1.0 + c / 9.0) / (1.0 + c), 0.0, 1.0), vec3(1.0 / 2.2));
  color = vec4(c, 1.0);
}"""
DEPTH = """#version 330
uniform sampler2D image; uniform float bias; in vec2 uv; in float z; out float depth;
void main() { if (texture(image, uv, bias).a < 0.5) discard; depth = z; }"""
SHADOW = """#version 330
uniform sampler2D image; in vec2 uv;
void main() { if (texture(image, uv).a < 0.5) discard; }"""
METERING = 0.125
"""Exposure at which the brightness is measured, low enough not to clip."""
GRAY = 0.34
"""Mean linear brightness that the exposure aims at."""


@dataclass(frozen=True)
class Body:
    """One thing in the scene."""

    name: str
    """The catalogue's file name, or what it is."""
    parts: tuple[Part, ...]
    motion: Motion = field(default_factory=Motion)
    bend: Bend | None = None
    """Its change of shape, before the motion."""
    casts_shadow: bool = True
    shine: float = 0.0
    glow: float = 0.0
    """Brightness of what shines by itself, as the sky; 0 for what the light falls on."""

    @property
    def moves(self) -> bool:
        """True if it is not the same at all times."""
        return self.bend is not None or not np.allclose(
            self.motion.matrix(0.0), self.motion.matrix(0.37)
        )


@dataclass(frozen=True)
class Light:
    """One light that throws shadows, and the light from all around. Content axes, y up."""

    place: Motion
    """A lamp's place, or the direction towards the sun as a place; moves slowly in some scenes."""
    is_lamp: bool
    color: Color
    above: Color
    below: Color
    middle: Vector
    """What the shadow map looks at."""
    reach: float
    """Half width of the sun's shadow map, meters."""

    def position(self, time: float) -> Float[np.ndarray, "4"]:
        """Homogeneous: the last number is 1 for a lamp and 0 for the sun."""
        place = self.place.matrix(time)[:3, 3]
        return np.array([*place, 1.0]) if self.is_lamp else np.array([*_unit(place), 0.0])

    def shadow(self, time: float) -> Matrix:
        """World to the shadow map's clip space."""
        x, y, z, w = self.position(time)
        if w:
            to_light = np.array([0.0, 1.0, 0.0])  # A lamp looks straight down.
            eye = np.array([x, y, z])
            shape = clip_matrix(1 / math.tan(math.radians(66)), 0.15, 20.0)
        else:
            to_light = np.array([x, y, z])
            eye = np.array(self.middle) + 40 * to_light
            shape = np.diag([1 / self.reach, 1 / self.reach, 1 / 40, 1.0])
            shape[2, 3] = -1.0
        side = _unit(np.cross(to_light, [0.1, 0.2, 1.0]))
        view = np.eye(4)
        view[:3, :3] = np.stack([side, np.cross(to_light, side), -to_light])
        view[:3, 3] = -view[:3, :3] @ eye
        return shape @ view


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def clip_matrix(focal: float, near: float, far: float) -> Matrix:
    """A square lens of `focal` half widths, camera axes with z forward; clip w is the depth."""
    matrix = np.zeros((4, 4))
    matrix[0, 0] = matrix[1, 1] = focal
    matrix[2, 2:] = (far + near) / (far - near), -2 * far * near / (far - near)
    matrix[3, 2] = 1
    return matrix


def camera_matrix(cameras: Cameras, frame: int) -> Matrix:
    """World (OpenCV axes) to clip space for one frame.

    Clip w is the depth along the optical axis. The picture's top row comes first in memory: OpenGL
    counts rows from the bottom, and y is left pointing down.
    """
    K = cameras.K[frame].double().numpy()
    matrix = clip_matrix(1.0, NEAR, FAR)
    for row, size in ((0, cameras.width), (1, cameras.height)):
        matrix[row, :3] = 2 / size * K[row]
        matrix[row, 2] -= 1
    return matrix @ cameras.world_to_camera[frame].double().numpy()


class Renderer:
    """An OpenGL context with the bodies of one scene, freed when `stack` closes."""

    def __init__(self, bodies: tuple[Body, ...], light: Light, to_world: Matrix, stack: ExitStack):
        self.gl, self.bodies, self.light, self.to_world = _context(), bodies, light, to_world
        stack.callback(self.gl.release)
        self.gl.gc_mode = "context_gc"
        self.gl.enable(self.gl.DEPTH_TEST)
        color = COLOR.replace("SHADOW_SIZE", f"{SHADOW_SIZE}.0")
        self.programs = {
            "color": self.gl.program(VERTEX, color),
            "depth": self.gl.program(VERTEX, DEPTH),
            "shadow": self.gl.program(VERTEX, SHADOW),
        }
        size = (SHADOW_SIZE, SHADOW_SIZE)
        self.shadow_map = self.gl.depth_texture(size)
        self.shadow_map.compare_func = ""
        self.shadow_target = self.gl.framebuffer(depth_attachment=self.shadow_map)
        self.images: dict[int, Any] = {}
        self.white = self.gl.texture((1, 1), 4, b"\xff" * 4)
        self.drawn = [[self._upload(part) for part in body.parts] for body in bodies]
        self.exposure: float | None = None

    def _upload(self, part: Part) -> tuple[Any, Any, dict[str, Any]]:
        """Image, buffer and one vertex array per program."""
        buffer = self.gl.buffer(np.ascontiguousarray(part.vertices))
        arrays = {}
        for name, program in self.programs.items():
            layout = (buffer, "3f 12x 2f", "in_position", "in_uv")
            if name == "color":
                layout = (buffer, "3f 3f 2f", "in_position", "in_normal", "in_uv")
            arrays[name] = self.gl.vertex_array(program, [layout])
        image = part.image
        if image is None:
            return self.white, buffer, arrays
        if id(image) not in self.images:
            texture = self.gl.texture(image.shape[1::-1], 4, image.tobytes())
            texture.build_mipmaps()
            texture.filter = (self.gl.LINEAR_MIPMAP_LINEAR, self.gl.LINEAR)
            self.images[id(image)] = texture
        return self.images[id(image)], buffer, arrays

    def set_time(self, time: float) -> None:
        """Bring bodies, light and shadows to `time`."""
        self.models = [self.to_world @ body.motion.matrix(time) for body in self.bodies]
        for body, drawn in zip(self.bodies, self.drawn, strict=True):
            if body.bend is not None:
                for part, (_, buffer, _) in zip(body.parts, drawn, strict=True):
                    buffer.write(np.ascontiguousarray(body.bend(part.vertices, time), np.float32))
        self.shadow = self.light.shadow(time) @ np.linalg.inv(self.to_world)
        self.position = self.to_world @ self.light.position(time)
        self.shadow_target.use()
        self.shadow_target.clear(depth=1.0)
        # Depth in the map grows with the slope, so that surfaces do not shade themselves.
        self.gl.polygon_offset = (2.5, 8.0)
        self._set("shadow", "camera", self.shadow)
        self._draw("shadow")
        self.gl.polygon_offset = (0.0, 0.0)

    def _set(self, program: str, name: str, value: Any) -> None:
        value = np.asarray(value, np.float32)
        self.programs[program][name].write(np.ascontiguousarray(value.T).tobytes())

    def _draw(self, name: str) -> None:
        program = self.programs[name]
        for body, model, drawn in zip(self.bodies, self.models, self.drawn, strict=True):
            if name == "shadow" and not body.casts_shadow:
                continue
            self._set(name, "model", model)
            if name == "color":
                program["shine"].value, program["glow"].value = body.shine, body.glow
            for part, (texture, _, arrays) in zip(body.parts, drawn, strict=True):
                texture.use(0)
                if name == "color":
                    program["tint"].value = part.tint
                arrays[name].render()

    def target(self, height: int, width: int, components: int) -> Any:
        """A picture to draw into: 4 components for color, 1 for depth."""
        size = (width, height)
        texture = self.gl.texture(size, components, dtype="f4" if components == 1 else "f1")
        return self.gl.framebuffer([texture], self.gl.depth_renderbuffer(size))

    def color(self, cameras: Cameras, frame: int, target: Any) -> Float[Tensor, "3 H W"]:
        """What one camera sees now, RGB in [0, 1]; linear while the exposure is measured."""
        target.use()
        target.clear(0, 0, 0, 0)
        self._set("color", "camera", camera_matrix(cameras, frame))
        self._set("color", "shadow", self.shadow)
        self.programs["color"]["shadow_map"].value = 1
        self.shadow_map.use(1)
        self._set("color", "eye", cameras.centers[frame].numpy())
        self._set("color", "light", self.position)
        self._set("color", "light_color", self.light.color)
        self._set("color", "above", self.light.above)
        self._set("color", "below", self.light.below)
        self.programs["color"]["exposure"].value = self.exposure or METERING
        self.programs["color"]["linear"].value = self.exposure is None
        self._draw("color")
        data = np.frombuffer(target.read(components=3, alignment=1), np.uint8)
        rgb = torch.from_numpy(data.reshape(cameras.height, cameras.width, 3).copy())
        return rgb.permute(2, 0, 1).float() / 255

    def depth(self, cameras: Cameras, frame: int, target: Any, bias: float) -> Float[Tensor, "H W"]:
        """Depth of one camera's pixel centers now; 0 where nothing is.

        Args:
            bias: octaves by which textures are finer than this size would take, so that leaves have
                the outline that the larger color picture gives them.
        """
        target.use()
        target.clear(0, 0, 0, 0)
        self._set("depth", "camera", camera_matrix(cameras, frame))
        self.programs["depth"]["bias"].value = bias
        self._draw("depth")
        data = np.frombuffer(target.read(components=1, dtype="f4"), np.float32)
        return torch.from_numpy(data.reshape(cameras.height, cameras.width).copy())

    def meter(self, camera: Cameras) -> None:
        """Set the exposure by what one camera sees now."""
        self.exposure = None
        target = self.target(camera.height, camera.width, 4)
        mean = float(self.color(camera, 0, target).mean()) / METERING
        self.exposure = GRAY / max(mean, 1e-3)


def draw(
    bodies: tuple[Body, ...],
    light: Light,
    to_world: Matrix,
    cameras: Cameras,
    times: Float[Tensor, " T"],
    samples: int = 2,
) -> tuple[Float[Tensor, "T 3 H W"], Float[Tensor, "T H W"]]:
    """Color in [0, 1] and depth (0 where nothing is) of one camera per time.

    Args:
        to_world: from the axes of the bodies to the world of the cameras.
        samples: color samples per pixel and axis.
    """
    fine = cameras.resized(cameras.height * samples, cameras.width * samples)
    frames, z = [], []
    with ExitStack() as stack:
        renderer = Renderer(bodies, light, to_world, stack)
        now = 0.0
        renderer.set_time(now)
        # Brightness is measured from the source camera's base place.
        renderer.meter(static_cameras(intrinsics(80.0, 64, 112), 64, 112))
        color_target = renderer.target(fine.height, fine.width, 4)
        depth_target = renderer.target(cameras.height, cameras.width, 1)
        progress = tqdm(times.tolist(), desc="Drawing", unit="frame", delay=1, leave=False)
        for frame, time in enumerate(progress):
            if time != now:
                renderer.set_time(now := time)
            large = renderer.color(fine, frame, color_target)
            frames.append(F.avg_pool2d(large[None], samples)[0])
            z.append(renderer.depth(cameras, frame, depth_target, -math.log2(samples)))
    return torch.stack(frames), torch.stack(z)


def _context() -> Any:
    """A context of our own, on EGL.

    Raises:
        ImportError: without moderngl.
        RuntimeError: without EGL.
    """
    try:
        import moderngl
    except ImportError as error:
        raise ImportError(
            "Drawing mesh scenes needs moderngl: pip install 'trajectorycrafter[synthetic]'."
        ) from error
    try:
        settings: dict[str, Any] = {"backend": "egl"}
        return moderngl.create_context(standalone=True, **settings)
    except Exception as error:  # moderngl and glcontext raise plain Exception.
        raise RuntimeError(
            "Expected OpenGL through EGL, found none that works. On Debian: "
            f"apt-get install libegl1 libgl1-mesa-dri. ({error})"
        ) from error
