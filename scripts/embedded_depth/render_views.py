"""Render the training views, with exact disparity: rooms, parks, streets, tables, people.

Needs what `meshes.py` needs and `moderngl` with EGL (Debian `libegl1`, `libgl1-mesa-dri`).
`python render_views.py SOURCES OUT --views 5000` writes shards `views_00000.npz` with `rgb`
(n, H, W, 3 uint8, clean: training degrades them) and `disparity` (n, H / 2, W / 2 float16, in
1/metre).

The one thing a reader would get wrong: the sky has disparity 0 and is part of the target.
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import cv2
import meshes as M
import moderngl
import numpy as np

SIZES = ((288, 384), (288, 512), (384, 288))
"""Height and width of a shard's views."""
CAMERAS = 4
"""Views of one scene: building it costs more than drawing it."""

VERTEX = """#version 330
uniform mat4 model; uniform mat4 view; uniform mat4 projection; uniform mat4 shadow;
in vec3 in_position; in vec3 in_normal; in vec2 in_uv;
out vec3 position; out vec3 normal; out vec2 uv; out float z; out vec4 in_shadow;
void main() {
  vec4 w = model * vec4(in_position, 1.0); vec4 c = view * w;
  position = w.xyz; normal = transpose(inverse(mat3(model))) * in_normal; uv = in_uv; z = -c.z;
  in_shadow = shadow * w; gl_Position = projection * c;
}"""
FRAGMENT = """#version 330
uniform sampler2D image; uniform sampler2D shadow_map;
uniform vec3 tint; uniform float patchy; uniform vec3 sun; uniform vec3 sun_color;
uniform vec3 ambient; uniform vec3 lamp; uniform vec3 lamp_color;
uniform vec4 fog; uniform vec3 eye;
uniform float shine;
in vec3 position; in vec3 normal; in vec2 uv; in float z; in vec4 in_shadow;
layout(location=0) out vec4 color; layout(location=1) out float disparity;
float hash(vec2 p) { return fract(sin(dot(p, vec2(12.9898, 78.233))) * 43758.5453); }
float noise(vec2 p) {
  vec2 i = floor(p), f = fract(p); f = f * f * (3.0 - 2.0 * f);
  return mix(mix(hash(i), hash(i + vec2(1, 0)), f.x),
             mix(hash(i + vec2(0, 1)), hash(i + vec2(1, 1)), f.x), f.y);
}
void main() {
  vec4 t = texture(image, uv); if (t.a < 0.5) discard;
  vec3 n = normalize(normal); vec3 to_eye = normalize(eye - position);
  if (dot(n, to_eye) < 0.0) n = -n;
  vec3 albedo = t.rgb * tint;
  float patches = noise(position.xz * 0.3) + 0.6 * noise(position.xz * 1.3) - 0.8;
  if (patchy > 0.0) albedo *= 1.0 - patchy * patches;
  vec3 s = in_shadow.xyz / in_shadow.w * 0.5 + 0.5; float lit = 1.0;
  if (all(greaterThan(s, vec3(0.0))) && all(lessThan(s, vec3(1.0)))) {
    lit = 0.0;
    for (int i = 0; i < 4; i++) {
      vec2 o = (vec2(i % 2, i / 2) - 0.5) * 0.0016;
      lit += s.z - 0.003 < texture(shadow_map, s.xy + o).r ? 0.25 : 0.0;
    }
  }
  vec3 l = lamp - position; float r2 = dot(l, l);
  vec3 light = ambient * (0.75 + 0.25 * n.y) + sun_color * max(dot(n, sun), 0.0) * lit
             + lamp_color * max(dot(n, l * inversesqrt(r2)), 0.0) / (1.0 + 0.3 * r2);
  vec3 h = normalize(sun + to_eye);
  vec3 lit_color = albedo * light + shine * lit * sun_color * pow(max(dot(n, h), 0.0), 30.0);
  color = vec4(mix(lit_color, fog.rgb, 1.0 - exp(-z * fog.a)), 1.0); disparity = 1.0 / z;
}"""
SHADOW_VERTEX = """#version 330
uniform mat4 model; uniform mat4 shadow; in vec3 in_position; in vec2 in_uv; out vec2 uv;
void main() { uv = in_uv; gl_Position = shadow * model * vec4(in_position, 1.0); }"""
SHADOW_FRAGMENT = """#version 330
uniform sampler2D image; in vec2 uv; void main() { if (texture(image, uv).a < 0.5) discard; }"""


@dataclass
class Item:
    """One thing in the scene."""

    parts: list[M.Part]
    model: np.ndarray
    shadow: bool = True
    patchy: float = 0.0
    shine: float = 0.0


@dataclass
class Scene:
    eye: np.ndarray
    yaw: float
    pitch: float
    roll: float = 0.0
    fov: float = 55.0
    items: list[Item] = field(default_factory=list)
    outdoor: bool = False
    lamp: np.ndarray = field(default_factory=lambda: np.array([0.0, 2.2, 0.0]))


def place(x=0.0, y=0.0, z=0.0, turn=0.0, scale=1.0, tilt=0.0) -> np.ndarray:
    """Model matrix: scale, tilt about x, turn about y, move; angles in degrees."""
    m = np.eye(4)
    a, b = np.radians([turn, tilt])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    m[:3, :3] = about_y @ about_x @ np.diag(np.ones(3) * scale)
    m[:3, 3] = [x, y, z]
    return m


def look(scene: Scene) -> np.ndarray:
    """World to OpenGL camera (y up, -z forward)."""
    a, b, c = np.radians([scene.yaw, scene.pitch, scene.roll])
    forward = np.array([np.sin(a) * np.cos(b), np.sin(b), -np.cos(a) * np.cos(b)])
    right = np.cross(forward, [0, 1, 0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    right, up = np.cos(c) * right + np.sin(c) * up, np.cos(c) * up - np.sin(c) * right
    view = np.eye(4)
    view[:3, :3] = np.stack([right, up, -forward])
    view[:3, 3] = -view[:3, :3] @ scene.eye
    return view


class Renderer:
    """Draws scenes off screen, half as large again for smooth edges in the colours."""

    def __init__(self):
        self.gl = moderngl.create_context(standalone=True, backend="egl")
        self.gl.enable(moderngl.DEPTH_TEST)
        self.program = self.gl.program(VERTEX, FRAGMENT)
        self.caster = self.gl.program(SHADOW_VERTEX, SHADOW_FRAGMENT)
        self.loaded, self.targets, self.held = {}, {}, {}
        self.white = self.gl.texture((1, 1), 4, b"\xff" * 4)
        self.shadow_map = self.gl.depth_texture((512, 512))
        self.shadow_map.compare_func = ""
        self.shadow_target = self.gl.framebuffer(depth_attachment=self.shadow_map)

    def texture(self, image: M.Image | None) -> moderngl.Texture:
        if image is None:
            return self.white
        if id(image) not in self.loaded:
            made = self.gl.texture(image.shape[1::-1], 4, image.tobytes())
            made.build_mipmaps()
            made.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
            self.loaded[id(image)] = made
        return self.loaded[id(image)]

    def buffer(self, part: M.Part) -> moderngl.Buffer:
        # Models of the catalogue are shared, hence read-only, and stay on the graphics side.
        if part.vertices.flags.writeable:
            return self.gl.buffer(np.ascontiguousarray(part.vertices, np.float32))
        if id(part.vertices) not in self.held:
            self.held[id(part.vertices)] = self.gl.buffer(part.vertices)
        return self.held[id(part.vertices)]

    def target(self, height: int, width: int) -> moderngl.Framebuffer:
        if (height, width) not in self.targets:
            size = (width, height)
            colors = [self.gl.texture(size, 4), self.gl.texture(size, 1, dtype="f4")]
            self.targets[height, width] = self.gl.framebuffer(
                colors, self.gl.depth_renderbuffer(size)
            )
        return self.targets[height, width]

    def draw(
        self, scene: Scene, light: dict, height: int, width: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """RGB float in [0, 1] and disparity; where nothing is, disparity is 0 and RGB is -1."""
        buffers = [[self.buffer(p) for p in i.parts] for i in scene.items]
        shadow = sun_matrix(scene, light["sun"])
        self.shadow_target.use()
        self.gl.viewport = (0, 0, 512, 512)
        self.shadow_target.clear(depth=1.0)
        self.caster["shadow"].write(shadow.T.astype("f4").tobytes())
        for item, held in zip(scene.items, buffers, strict=True):
            if not item.shadow:
                continue
            self.caster["model"].write(item.model.T.astype("f4").tobytes())
            for part, buffer in zip(item.parts, held, strict=True):
                self.texture(part.image).use(0)
                array = self.gl.vertex_array(
                    self.caster, [(buffer, "3f 12x 2f", "in_position", "in_uv")]
                )
                array.render()
                array.release()
        shape = (height * 3 // 2, width * 3 // 2)
        target = self.target(*shape)
        target.use()
        self.gl.viewport = (0, 0, shape[1], shape[0])
        target.clear(0, 0, 0, 0)
        self.set_camera(scene, light, shadow, height / width)
        for item, held in zip(scene.items, buffers, strict=True):
            self.program["model"].write(item.model.T.astype("f4").tobytes())
            self.program["patchy"].value, self.program["shine"].value = item.patchy, item.shine
            for part, buffer in zip(item.parts, held, strict=True):
                self.texture(part.image).use(0)
                self.program["tint"].value = tuple(map(float, part.tint))
                layout = (buffer, "3f 3f 2f", "in_position", "in_normal", "in_uv")
                array = self.gl.vertex_array(self.program, [layout])
                array.render()
                array.release()
                if part.vertices.flags.writeable:
                    buffer.release()
        color = np.frombuffer(target.read(components=4, attachment=0), np.uint8).reshape(*shape, 4)
        disparity = np.frombuffer(target.read(components=1, attachment=1, dtype="f4"), np.float32)
        disparity = np.where(color[..., 3] > 0, disparity.reshape(shape), 0)
        rgb = np.where(color[..., 3:] > 0, color[..., :3] / 255.0, -1)
        return rgb[::-1].astype(np.float32), disparity[::-1].astype(np.float32)

    def set_camera(self, scene: Scene, light: dict, shadow: np.ndarray, aspect: float) -> None:
        near, far = 0.04, 600.0
        f = 1 / np.tan(np.radians(scene.fov) / 2)
        projection = np.zeros((4, 4))
        projection[0, 0], projection[1, 1] = f, f / aspect
        projection[2, 2:] = [(far + near) / (near - far), 2 * far * near / (near - far)]
        projection[3, 2] = -1
        self.program["view"].write(look(scene).T.astype("f4").tobytes())
        self.program["projection"].write(projection.T.astype("f4").tobytes())
        self.program["shadow"].write(shadow.T.astype("f4").tobytes())
        self.shadow_map.use(1)
        self.program["shadow_map"].value, self.program["image"].value = 1, 0
        self.program["eye"].value = tuple(scene.eye)
        self.program["lamp"].value = tuple(scene.lamp)
        for name in ("sun", "sun_color", "ambient", "lamp_color", "fog"):
            self.program[name].value = tuple(map(float, light[name]))


def sun_matrix(scene: Scene, sun: np.ndarray) -> np.ndarray:
    """World to the light's clip space, covering some metres before the camera."""
    reach = 14.0 if scene.outdoor else 5.0
    ahead = (
        scene.eye
        + np.array([np.sin(np.radians(scene.yaw)), 0, -np.cos(np.radians(scene.yaw))]) * reach * 0.7
    )
    side = np.cross(sun, [0.1, 0.2, 1.0])
    side /= np.linalg.norm(side)
    turn = np.stack([side, np.cross(sun, side), -sun])
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array([1 / reach, 1 / reach, 1 / 60])[:, None]
    matrix[:3, 3] = -matrix[:3, :3] @ ahead
    return matrix


class World:
    """Makes random scenes out of the catalogue."""

    def __init__(self, sources: Path, rng: np.random.Generator):
        self.rng = rng
        self.textures = M.gather_textures(sources, rng)
        self.meshes: dict[M.Entry, M.Mesh | None] = {}
        pools = M.kinds(M.catalogue(sources))
        self.plants, self.people, self.vehicles = (
            pools["plants"], pools["people"], pools["vehicles"]
        )  # fmt: skip
        self.exterior, self.poles, self.indoor = (
            pools["exterior"], pools["poles"], pools["indoor"]
        )  # fmt: skip
        self.small, self.tables, self.openings = (
            pools["small"], pools["tables"], pools["openings"]
        )  # fmt: skip

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def pick(self, options):
        return options[self.rng.integers(len(options))]

    def mesh(self, entries: list[M.Entry]) -> M.Mesh:
        while True:
            entry = self.pick(entries)
            if entry not in self.meshes:
                self.meshes[entry] = M.load_mesh(entry)
            mesh = self.meshes[entry]
            if mesh is not None:
                return mesh

    def model(self, entries, x, y, z, turn=None, scale=1.0) -> Item:
        mesh = self.mesh(entries)
        turn = self.rng.uniform(0, 360) if turn is None else turn
        parts = mesh.parts
        if self.chance(0.35):
            # Other colours than the author's, so that the looks of the models do not run out.
            shade = self.rng.uniform(0.4, 1.2, 3)
            parts = [
                M.Part(
                    p.vertices,
                    p.image,
                    tuple((np.array(p.tint) * shade).clip(0.02, 1)),
                )
                for p in parts
            ]
        return Item(parts, place(x, y, z, turn, scale), shine=self.rng.choice([0, 0, 0.2, 0.6]))

    def surface(self) -> tuple[M.Image | None, tuple]:
        """A texture and a tint for walls, boxes and the like."""
        if self.chance(0.15):
            return None, tuple(self.rng.uniform(0.1, 1, 3))
        pool = self.textures.details if self.chance(0.5) else self.textures.surfaces
        return self.pick(pool), tuple(self.rng.uniform(0.5, 1.1, 3)) if self.chance(0.5) else (
            1,
            1,
            1,
        )

    def shape(self, data: np.ndarray, model: np.ndarray, texture="any", tint=None, **more) -> Item:
        name, color = self.surface()
        if not isinstance(texture, str):
            name, color = texture, tint or (1, 1, 1)
        return Item([M.Part(data, name, tint or color)], model, **more)

    def solid(self, x, y, z, size: np.ndarray) -> Item:
        """A random plain body in a box of the given size."""
        r = self.rng
        kind = r.integers(5)
        data = [
            lambda: M.box(r.uniform(0.5, 3), size),
            lambda: M.box(),
            M.sphere,
            lambda: M.cylinder(r.uniform(0.1, 1)),
            lambda: M.blob(r),
        ][kind]()
        m = place(x, y, z, r.uniform(0, 360))
        m[:3, :3] = m[:3, :3] @ np.diag(size)
        return self.shape(data, m, shine=r.choice([0, 0.3]))

    def tree(self, x, z, height) -> list[Item]:
        """A trunk with a crown of leaf cards, or a catalogue's tree."""
        r = self.rng
        if self.chance(0.3):
            mesh = self.mesh(self.plants)
            return [
                Item(mesh.parts, place(x, 0, z, r.uniform(0, 360), height / max(mesh.size[1], 0.3)))
            ]
        bark = tuple(np.array([0.4, 0.3, 0.22]) * r.uniform(0.4, 1.5))
        top = r.uniform(0.2, 0.55) * height
        lean = r.normal(0, 0.04, 2) * height
        tip = np.array([x + lean[0], height * 0.8, z + lean[1]])
        trunk = [M.capsule([x, -0.2, z], tip, height * r.uniform(0.015, 0.035), 0.4)]
        for _ in range(r.integers(0, 6)):
            start = np.array([x, 0, z]) + (tip - [x, 0, z]) * r.uniform(0.3, 0.9)
            end = (
                start
                + np.array([r.normal(0, 0.15), r.uniform(0.05, 0.25), r.normal(0, 0.15)]) * height
            )
            trunk.append(M.capsule(start, end, height * 0.01, 0.3))
        items = [
            self.shape(np.concatenate(trunk), np.eye(4), self.pick(self.textures.surfaces), bark)
        ]
        if self.chance(0.9):
            crown = M.leaf_crown(r, int(r.integers(40, 140)))
            m = place(tip[0], (top + height) / 2, tip[2], r.uniform(0, 360))
            wide = height * r.uniform(0.3, 0.9)
            m[:3, :3] = m[:3, :3] @ np.diag([wide, (height - top), wide])
            shade = tuple(r.uniform(0.5, 1.2) * np.ones(3))
            items.append(self.shape(crown, m, self.pick(self.textures.leaves), shade))
        return items

    def person(self, x, z, turn=None) -> list[Item]:
        """Somebody of the catalogue, or a jointed figure of rods."""
        r = self.rng
        if self.chance(0.6):
            return [self.model(self.people, x, 0, z, turn)]
        height = r.uniform(1.2, 1.95)
        s = height / 1.75
        skin = tuple(np.array([0.85, 0.62, 0.5]) * r.uniform(0.3, 1.1))
        shirt, trousers = self.surface(), self.surface()
        swing = r.normal(0, 0.25, 8)
        hip, neck = np.array([0, 0.92, 0]), np.array([swing[6] * 0.2, 1.45, swing[7] * 0.3])
        groups: dict = {"skin": [], "shirt": [], "trousers": []}
        groups["shirt"].append(M.capsule(hip + [0, 0.05, 0], neck - [0, 0.12, 0], 0.16, 1.1))
        head = neck + [0, 0.2, 0.02]
        groups["skin"].append(M.capsule(head - [0, 0.06, 0], head + [0, 0.06, 0], 0.095))
        groups["skin"].append(M.capsule(neck - [0, 0.05, 0], head, 0.05))
        for side in (-1, 1):
            i = 0 if side < 0 else 3
            knee = hip + [side * 0.1, -0.45, swing[i]]
            ankle = knee + [0, -0.42, swing[i + 1] * 0.6 - 0.05]
            groups["trousers"].append(M.capsule(hip + [side * 0.09, 0, 0], knee, 0.085, 0.75))
            groups["trousers"].append(M.capsule(knee, ankle, 0.065, 0.7))
            groups["trousers"].append(M.capsule(ankle, ankle + [0, -0.03, 0.16], 0.045))
            shoulder = neck + [side * 0.2, -0.1, 0]
            elbow = shoulder + [side * abs(swing[i + 2]) * 0.5, -0.28, swing[i + 2]]
            hand = elbow + [swing[i] * 0.3, -0.2 + 0.5 * abs(swing[i + 1]), 0.12 + abs(swing[i])]
            groups["shirt"].append(M.capsule(shoulder, elbow, 0.055, 0.8))
            groups["skin"].append(M.capsule(elbow, hand, 0.04, 0.7))
        m = place(x, 0.04, z, r.uniform(0, 360) if turn is None else turn, s)
        look_of = {"skin": (None, skin), "shirt": shirt, "trousers": trousers}
        parts = [M.Part(np.concatenate(groups[k]), *look_of[k]) for k in groups]
        return [Item(parts, m)]

    def hand(self, scene: Scene) -> list[Item]:
        """A forearm that comes in from the border and holds something, near the camera."""
        r = self.rng
        distance = r.uniform(0.3, 1.0)
        half = np.tan(np.radians(scene.fov) / 2) * distance
        target = np.array([r.uniform(-0.6, 0.6) * half, r.uniform(-0.5, 0.4) * half, -distance])
        start = np.array(
            [
                r.choice([-1.4, 1.4]) * half,
                r.uniform(-1.4, 0.2) * half,
                -distance * r.uniform(0.5, 1.2),
            ]
        )
        skin = tuple(np.array([0.85, 0.62, 0.5]) * r.uniform(0.35, 1.1))
        along = (target - start) / np.linalg.norm(target - start)
        side = np.cross(along, r.normal(size=3))
        side /= np.linalg.norm(side)
        rods = [
            M.capsule(start, target, 0.045, 0.65),
            M.capsule(target, target + along * 0.09, 0.04, 0.9),
        ]
        for finger in range(5):
            root = target + along * 0.08 + side * (finger - 2) * 0.02
            bend = root + along * 0.04 + r.normal(0, 0.015, 3)
            rods += [
                M.capsule(root, bend, 0.011),
                M.capsule(bend, bend + along * 0.03 + r.normal(0, 0.02, 3), 0.009),
            ]
        to_world = np.linalg.inv(look(scene))
        items = [Item([M.Part(np.concatenate(rods), None, skin)], to_world, shadow=False)]
        if self.chance(0.3):
            sleeve = M.capsule(start, start + (target - start) * r.uniform(0.3, 0.6), 0.06, 0.9)
            items.append(self.shape(sleeve, to_world, shadow=False))
        if self.chance(0.7):
            at = target + along * 0.13
            held = self.solid(*at, r.uniform(0.06, 0.25, 3))
            items.append(
                Item(
                    held.parts, to_world @ held.model @ place(tilt=r.uniform(-60, 60)), shadow=False
                )
            )
        return items

    def things_on(self, table: Item, size: np.ndarray, count: int) -> list[Item]:
        r, out = self.rng, []
        for _ in range(count):
            p = table.model @ np.array(
                [*(r.uniform(-0.4, 0.4) * size[:1]), size[1], r.uniform(-0.4, 0.4) * size[2], 1]
            )
            out.append(self.model(self.small, p[0], p[1], p[2]))
        return out

    def room(self) -> Scene:
        r = self.rng
        w, d, h = r.uniform(2.5, 9), r.uniform(2.5, 12), r.uniform(2.2, 3.6)
        eye = np.array([r.uniform(-0.45, 0.45) * w, r.uniform(0.4, 2.0), r.uniform(0.1, 0.48) * d])
        scene = Scene(eye, r.normal(0, 40), r.normal(-8, 12), r.normal(0, 2), r.uniform(35, 85))
        scene.lamp = np.array([r.uniform(-0.4, 0.4) * w, h - 0.2, r.uniform(-0.4, 0.4) * d])
        scene.items.append(
            self.shape(M.ground(0.5, r.uniform(0.5, 1.5) * d), place(scale=1), shadow=False)
        )
        scene.items[-1].model[:3, :3] = np.diag([w, 1, d])
        if self.chance(0.9):
            ceiling = self.shape(
                M.ground(0.5, r.uniform(0.5, 1) * d), np.diag([w, 1, d, 1.0]), shadow=False
            )
            ceiling.model[1, 3] = h
            scene.items.append(ceiling)
        wall = self.surface()
        for turn, width, depth in ((0, w, d), (180, w, d), (90, d, w), (270, d, w)):
            name, tint = wall if self.chance(0.75) else self.surface()
            rep = r.uniform(0.3, 1)
            m = place(turn=turn) @ place(z=-depth / 2)
            scene.items.append(
                self.shape(M.quad(width, h, (width * rep, h * rep)), m, name, tint, shadow=False)
            )
            for _ in range(r.integers(0, 4)):
                pw, ph = r.uniform(0.3, 1.5, 2)
                at = place(turn=turn) @ place(
                    r.uniform(-0.4, 0.4) * width, r.uniform(0.6, h - 0.6), -depth / 2 + 0.03
                )
                scene.items.append(
                    self.shape(M.quad(pw, ph), at, self.pick(self.textures.photos), shadow=False)
                )
            if self.chance(0.5):
                mesh = self.mesh(self.openings)
                at = place(turn=turn) @ place(r.uniform(-0.4, 0.4) * width, 0, -depth / 2 + 0.05)
                scene.items.append(Item(mesh.parts, at, shadow=False))
        for _ in range(r.integers(4, 16)):
            mesh = self.mesh(self.tables if self.chance(0.25) else self.indoor)
            side = r.integers(5)
            x, z, turn = r.uniform(-0.45, 0.45) * w, r.uniform(-0.45, 0.3) * d, r.uniform(0, 360)
            if side < 4 and self.chance(0.7):
                turn = [0, 180, 90, 270][side]
                x = [x, x, -w / 2 + mesh.size[2] / 2, w / 2 - mesh.size[2] / 2][side]
                z = [-d / 2 + mesh.size[2] / 2, d / 2 - mesh.size[2] / 2, z, z][side]
            item = Item(mesh.parts, place(x, 0, z, turn), shine=r.choice([0, 0, 0.3]))
            scene.items.append(item)
            if 0.3 < mesh.size[1] < 1.2 and self.chance(0.5):
                scene.items += self.things_on(item, np.array(mesh.size), r.integers(1, 6))
        for _ in range(r.choice([0, 0, 1, 1, 2, 3])):
            scene.items += self.person(r.uniform(-0.4, 0.4) * w, r.uniform(-0.45, 0.3) * d)
        return scene

    def park(self) -> Scene:
        r = self.rng
        eye = np.array([0, r.choice([r.uniform(0.4, 2.2), r.uniform(1, 2), r.uniform(2, 8)]), 0])
        scene = Scene(
            eye, 0, r.normal(-2, 6) - eye[1], r.normal(0, 1.5), r.uniform(30, 80), outdoor=True
        )
        name = (
            self.pick(self.textures.grass)
            if self.chance(0.7)
            else self.pick(self.textures.surfaces)
        )
        scene.items.append(
            self.shape(
                M.ground(500, r.uniform(0.15, 1)),
                np.eye(4),
                name,
                shadow=False,
                patchy=r.uniform(0, 0.8),
            )
        )
        for _ in range(r.choice([0, 1, 1, 2])):
            strip = M.ground(1, 1)
            width = r.uniform(0.5, 4)
            strip[:, 6:] *= [width * 0.7, 200 * 0.7]
            m = place(
                r.normal(0, 4),
                r.uniform(0.02, 0.04),
                0,
                r.choice([r.normal(0, 20), r.normal(90, 10)]),
            )
            if abs(m[0, 0]) < 0.5:
                m[2, 3] = -r.uniform(3, 25)
            m[:3, :3] = m[:3, :3] @ np.diag([width, 1, 200])
            scene.items.append(self.shape(strip, m, shadow=False, patchy=0.3))
        if self.chance(0.5):
            inner = r.uniform(40, 150)
            land = M.hills(r, inner, inner * 3, r.uniform(5, 80))
            scene.items.append(
                self.shape(
                    land, np.eye(4), self.pick(self.textures.grass), shadow=False, patchy=0.6
                )
            )
        for _ in range(r.choice([0, 1, 2, 2])):
            scene.items.append(self.treeline())
        for _ in range(r.integers(1, 22)):
            z = -np.exp(r.uniform(np.log(4), np.log(80)))
            height = r.uniform(2.5, 14) if z < -8 else r.uniform(1, 4)
            scene.items += self.tree(r.uniform(-0.9, 0.9) * abs(z) + r.normal(0, 1), z, height)
        self.scatter(scene, self.exterior, r.integers(0, 7), 2.5, 40)
        self.scatter(scene, self.poles, r.integers(0, 5), 3, 50)
        self.scatter(scene, self.vehicles, r.choice([0, 0, 1, 2]), 5, 50)
        for _ in range(r.integers(0, 4)):
            z = -r.uniform(20, 120)
            size = np.array([r.uniform(5, 30), r.uniform(3, 18), r.uniform(5, 20)])
            scene.items.append(self.building(r.uniform(-1, 1) * abs(z), z, size))
        for _ in range(r.choice([0, 1, 1, 2, 4])):
            z = -np.exp(r.uniform(np.log(1.8), np.log(15)))
            scene.items += self.person(r.uniform(-0.45, 0.45) * abs(z), z)
        if self.chance(0.15):
            scene.items += self.fence()
        return scene

    def treeline(self) -> Item:
        r = self.rng
        radius, height = r.uniform(25, 120), r.uniform(4, 16)
        angle = np.linspace(-np.pi, np.pi, 65)
        ring = np.stack([radius * np.sin(angle), np.zeros(65), -radius * np.cos(angle)], -1)
        points = np.concatenate([ring, ring + [0, height, 0]])
        i = np.arange(64)
        faces = np.concatenate(
            [np.stack([i, i + 1, i + 66], -1), np.stack([i, i + 66, i + 65], -1)]
        )
        u = np.linspace(0, 6.28 * radius / height / 2, 65)
        uv = np.concatenate([np.stack([u, 0 * u], -1), np.stack([u, 0 * u + 0.98], -1)])
        shade = tuple(r.uniform(0.4, 1.1) * np.ones(3))
        return self.shape(
            M.soup(points, faces, uv), place(), self.pick(self.textures.lines), shade, shadow=False
        )

    def building(self, x, z, size) -> Item:
        m = place(x, 0, z, self.rng.choice([0, 90, self.rng.uniform(0, 360)]))
        m[:3, :3] = m[:3, :3] @ np.diag(size)
        name = (
            self.pick(self.textures.facades)
            if self.chance(0.8)
            else self.pick(self.textures.surfaces)
        )
        return self.shape(
            M.box(self.rng.uniform(0.08, 0.2), size), m, name, tuple(self.rng.uniform(0.6, 1.1, 3))
        )

    def fence(self) -> list[Item]:
        r = self.rng
        z, posts = -r.uniform(1.5, 10), []
        for x in np.arange(-12, 12, r.uniform(0.12, 1.5)):
            top = [x, r.uniform(0.8, 1.6), z]
            posts.append(M.capsule([x, 0, z], top, r.uniform(0.01, 0.04)))
        posts += [M.capsule([-12, y, z], [12, y, z], 0.02) for y in (0.4, 1.0)]
        return [self.shape(np.concatenate(posts), place(turn=r.normal(0, 10)))]

    def scatter(self, scene, entries, count, near, far) -> None:
        for _ in range(count):
            z = -np.exp(self.rng.uniform(np.log(near), np.log(far)))
            scene.items.append(self.model(entries, self.rng.uniform(-0.8, 0.8) * abs(z), 0, z))

    def street(self) -> Scene:
        r = self.rng
        eye = np.array([r.uniform(-3, 3), r.choice([r.uniform(0.8, 2), r.uniform(2, 9)]), 0])
        scene = Scene(
            eye,
            r.normal(0, 15),
            r.normal(-2, 5) - eye[1],
            r.normal(0, 1.5),
            r.uniform(35, 85),
            outdoor=True,
        )
        scene.items.append(
            self.shape(M.ground(400, r.uniform(0.1, 0.8)), np.eye(4), shadow=False, patchy=0.3)
        )
        half = r.uniform(4, 14)
        for side in (-1, 1):
            z = 15.0
            while z > -120:
                size = np.array([r.uniform(6, 12), r.uniform(3, 22), r.uniform(5, 18)])
                if self.chance(0.85):
                    at = side * (half + size[0] / 2 + r.uniform(0, 2))
                    item = self.building(at, z - size[2] / 2, size)
                    item.model[:3, :3] = np.diag(size)
                    scene.items.append(item)
                z -= size[2] + r.choice([0, 0, r.uniform(1, 6)])
        if self.chance(0.5):
            scene.items.append(
                self.building(0, -r.uniform(30, 130), np.array([60, r.uniform(6, 25), 8]))
            )
        self.scatter(scene, self.vehicles, r.integers(0, 8), 4, 60)
        self.scatter(scene, self.poles + self.exterior, r.integers(0, 10), 3, 50)
        for _ in range(r.integers(0, 5)):
            z = -r.uniform(4, 40)
            scene.items += self.tree(r.uniform(-1, 1) * half, z, r.uniform(3, 9))
        for _ in range(r.integers(0, 6)):
            z = -np.exp(r.uniform(np.log(1.5), np.log(25)))
            scene.items += self.person(r.uniform(-0.5, 0.5) * abs(z), z)
        return scene

    def tabletop(self) -> Scene:
        r = self.rng
        eye = np.array([0, r.uniform(0.15, 0.9), r.uniform(0.3, 0.9)])
        pitch = -np.degrees(np.arctan2(eye[1] - 0.05, eye[2])) + r.normal(5, 8)
        scene = Scene(eye, r.normal(0, 8), pitch, r.normal(0, 4), r.uniform(35, 70))
        scene.lamp = np.array([r.normal(), 1.5, r.normal()])
        half = r.uniform(0.4, 1.2)
        scene.items.append(self.shape(M.ground(half, r.uniform(0.7, 4)), np.eye(4), shadow=False))
        scene.items.append(self.shape(M.ground(5, r.uniform(0.3, 1)), place(y=-0.75), shadow=False))
        back = -r.uniform(0.4, 4)
        scene.items.append(
            self.shape(M.quad(12, 6, (6, 3)), place(0, -0.75, min(back, -half)), shadow=False)
        )
        for _ in range(r.integers(1, 14)):
            x, z = r.uniform(-0.6, 0.6, 2)
            if self.chance(0.3):
                scene.items.append(self.solid(x, 0, z, r.uniform(0.03, 0.35, 3)))
            else:
                scene.items.append(self.model(self.small, x, 0, min(z, 0.3)))
        if self.chance(0.35):
            scene.items.append(
                self.model(
                    self.people + self.indoor, r.normal(0, 0.6), -0.75, r.uniform(back, -0.3) - half
                )
            )
        if self.chance(0.4):
            scene.items += self.hand(scene)
        return scene

    def floating(self) -> Scene:
        """Bodies before a backdrop: no ground to lean on."""
        r = self.rng
        scene = Scene(np.zeros(3), 0, r.normal(0, 10), r.normal(0, 10), r.uniform(35, 75))
        scene.outdoor = self.chance(0.3)
        scene.lamp = r.normal(0, 2, 3)
        far = r.uniform(3, 30)
        if not scene.outdoor:
            backdrop = self.shape(
                M.quad(6 * far, 6 * far, tuple(r.choice([1, 4, 10]) * np.ones(2))),
                place(0, -3 * far, -far),
                shadow=False,
            )
            tilt = place(turn=r.normal(0, 25), tilt=r.normal(0, 15))
            backdrop.model = tilt @ backdrop.model
            scene.items.append(backdrop)
        spread = np.tan(np.radians(scene.fov) / 2) * 1.1
        for _ in range(r.integers(2, 20)):
            z = np.exp(r.uniform(np.log(0.5), np.log(far)))
            at = (r.uniform(-spread, spread) * z, r.uniform(-spread, spread) * z, -z)
            if self.chance(0.5):
                scene.items.append(self.solid(*at, r.uniform(0.08, 0.5, 3) * z))
                continue
            item = self.model(
                self.pick([self.people, self.indoor, self.small, self.plants, self.vehicles]),
                0,
                0,
                0,
            )
            big = max(
                np.ptp(np.concatenate([p.vertices[:, :3] for p in item.parts]), axis=0).max(), 0.05
            )
            item.model = place(*at, r.uniform(0, 360), r.uniform(0.2, 1) * z / big, r.normal(0, 15))
            scene.items.append(item)
        if self.chance(0.25):
            scene.items += self.hand(scene)
        return scene

    def portrait(self) -> Scene:
        """Somebody or something near in the middle of another scene."""
        r = self.rng
        scene = self.pick([self.room, self.park, self.park, self.street])()
        z = r.uniform(0.7, 3.5)
        a = np.radians(scene.yaw + r.normal(0, scene.fov / 6))
        x, depth = scene.eye[0] + np.sin(a) * z, scene.eye[2] - np.cos(a) * z
        scene.eye[1] = min(scene.eye[1], 2.0)
        scene.pitch = r.normal(-2, 5)
        scene.items += self.person(x, depth)
        return scene

    def scene(self) -> Scene:
        kinds = [self.room, self.park, self.street, self.tabletop, self.floating, self.portrait]
        return kinds[self.rng.choice(6, p=[0.22, 0.28, 0.1, 0.12, 0.1, 0.18])]()


def lighting(scene: Scene, r: np.random.Generator) -> dict:
    sun = np.array([r.normal(), r.uniform(0.3, 1.5), r.normal()])
    warm = np.array([1, r.uniform(0.8, 1), r.uniform(0.6, 1)])
    overcast = r.random() < 0.4
    strength = r.uniform(0.05, 0.25) if overcast else r.uniform(0.4, 0.9)
    ambient = np.array([r.uniform(0.85, 1), 0.95, 1]) * (
        r.uniform(0.6, 0.9) if overcast else r.uniform(0.2, 0.5)
    )
    haze = r.uniform(0.5, 0.95) * np.array([r.uniform(0.8, 1), r.uniform(0.9, 1), 1])
    if not scene.outdoor:
        strength, ambient = strength * r.uniform(0, 0.8), ambient * r.uniform(0.4, 1)
    lamp = warm * (0 if scene.outdoor else r.uniform(0.1, 1.6))
    density = r.choice([0, r.uniform(0, 0.004), r.uniform(0, 0.02)]) if scene.outdoor else 0
    return {
        "sun": sun / np.linalg.norm(sun),
        "sun_color": warm * strength,
        "ambient": ambient,
        "lamp_color": lamp,
        "fog": np.array([*haze, density]),
    }


def sky(scene: Scene, light: dict, r: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A gradient with clouds, or plain."""
    y = np.linspace(1, 0, height)[:, None, None] + np.tan(np.radians(scene.pitch))
    zenith = r.choice([np.array([0.25, 0.45, 0.85]), np.array([0.6, 0.65, 0.7]), r.random(3)])
    picture = light["fog"][:3] + (zenith - light["fog"][:3]) * y.clip(0, 1) * np.ones((1, width, 1))
    if r.random() < 0.6:
        clouds = cv2.resize(M.fractal(r, gain=0.6), (width, height))[:, :, None]
        clouds = ((clouds - r.uniform(0.2, 0.7)) * r.uniform(1, 4)).clip(0, 1)
        picture = picture * (1 - clouds) + clouds * r.uniform(0.6, 1)
    return picture.clip(0, 1)


def exposed(rgb: np.ndarray, r: np.random.Generator) -> np.ndarray:
    """Brightness as an automatic exposure would set it, give or take."""
    gain = r.uniform(0.25, 0.6) / max(float(rgb.mean()), 1e-3)
    return (rgb * np.clip(gain, 0.4, 8)).clip(0, 1)


def cameras(scene: Scene, r: np.random.Generator, count: int) -> Iterator[Scene]:
    """The scene from its own camera and from others nearby, each with another lens."""
    yield scene
    ground = scene.eye[1]
    for _ in range(count - 1):
        step = r.normal(0, 0.12 * max(ground, 0.5), 3) * [3, 1, 3]
        eye = scene.eye + step
        eye[1] = max(eye[1], 0.1) if ground > 0.1 else eye[1]
        yield replace(
            scene,
            eye=eye,
            yaw=scene.yaw + r.normal(0, 20),
            pitch=scene.pitch + r.normal(0, 6),
            roll=scene.roll + r.normal(0, 3),
            fov=float(np.clip(scene.fov * r.uniform(0.7, 1.3), 25, 90)),
        )


def views(
    world: World, renderer: Renderer, height: int, width: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless pictures with disparity that is neither blocked nor flat."""
    r = world.rng
    while True:
        for scene in cameras(world.scene(), r, CAMERAS):
            light = lighting(scene, r)
            rgb, disparity = renderer.draw(scene, light, height, width)
            near = np.percentile(disparity[::4, ::4], 97)
            blocked = np.mean(disparity[::4, ::4] > 0.5 * disparity.max()) > 0.9
            plain = rgb[::4, ::4].std() < 0.05
            if near > 8 or blocked or plain or np.mean(disparity[::4, ::4] == 0) > 0.7:
                continue
            background = sky(scene, light, r, *rgb.shape[:2])
            rgb = exposed(np.where(rgb < 0, background, rgb), r)
            rgb = cv2.resize(rgb.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
            half = (width // 2, height // 2)
            disparity = cv2.resize(disparity, half, interpolation=cv2.INTER_NEAREST)
            yield (rgb * 255).astype(np.uint8), disparity.astype(np.float16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--views", type=int, default=5000)
    parser.add_argument("--shard", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    world = World(args.sources, np.random.default_rng(args.first))
    renderer = Renderer()
    for shard in range(args.first, args.first + args.views // args.shard):
        world.rng = np.random.default_rng(shard)
        height, width = SIZES[world.rng.choice(3, p=[0.45, 0.4, 0.15])]
        pairs = list(islice(views(world, renderer, height, width), args.shard))
        rgb, disparity = (np.stack(side) for side in zip(*pairs, strict=True))
        temporary = args.out / f".{shard:05d}.npz"
        np.savez(temporary, rgb=rgb, disparity=disparity)
        os.replace(temporary, args.out / f"views_{shard:05d}.npz")
        print(shard, flush=True)


if __name__ == "__main__":
    main()
