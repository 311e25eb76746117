"""The scene in the browser: the cloud of the moment, the source's and the new camera, the keys.

The points of all moments are sent once and then only shown and hidden, so that scrubbing costs a
message of a few bytes.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import viser
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..geometry.cameras import Cameras, rigid, rigid_inverse
from ..video.pictures import frustum_lines
from .editing import Design
from .preparing import PreparedClip

MOST_POINTS = 36_000
"""Points of a moment in the browser, where a clip has all its moments in memory."""
SHOWN_CAMERAS = 7
"""Pyramids drawn along the path; more would hide it."""
ORANGE, BLUE, GREEN, GRAY = (255, 150, 40), (70, 150, 255), (90, 220, 120), (150, 150, 150)


def placed(camera_to_world: Float[Tensor, "4 4"]) -> tuple[np.ndarray, np.ndarray]:
    """Quaternion (w first) and position, as viser wants them."""
    x, y, z, w = Rotation.from_matrix(camera_to_world[:3, :3].double().numpy()).as_quat()
    return np.array([w, x, y, z]), camera_to_world[:3, 3].double().numpy()


def pose_of(wxyz: np.ndarray, position: np.ndarray) -> Float[Tensor, "4 4"]:
    """World to camera of a node or viewport."""
    w, x, y, z = np.asarray(wxyz, dtype=np.float64)
    rotation = torch.from_numpy(Rotation.from_quat([x, y, z, w]).as_matrix())
    where = torch.from_numpy(np.array(position, dtype=np.float64))
    return rigid_inverse(rigid(rotation, where)).float()


def vertical_fov(K: Float[Tensor, "3 3"], height: int) -> float:
    """Radians."""
    return 2 * math.atan(height / 2 / float(K[1, 1]))


class SceneView:
    """What one browser window shows of a session."""

    def __init__(
        self,
        client: viser.ClientHandle,
        chosen: Callable[[int], None],
        dragged: Callable[[Float[Tensor, "4 4"], bool], None],
    ):
        """
        Args:
            chosen: called with the output frame of a key that was clicked.
            dragged: called with the gizmo's world_to_camera, and whether it was released.
        """
        self._client, self._scene = client, client.scene
        self._chosen, self._dragged = chosen, dragged
        self._moments: dict[int, viser.PointCloudHandle] = {}
        self._keys: dict[int, viser.CameraFrustumHandle] = {}
        self._gizmo: viser.TransformControlsHandle | None = None
        self._clip: PreparedClip | None = None
        self._shown = -1
        self._size = 1.0
        self._scene.set_up_direction("-y")
        self._camera: viser.CameraFrustumHandle | None = None
        self._pyramids: tuple[viser.LineSegmentsHandle, np.ndarray] | None = None
        client.camera.on_update(lambda _: self.clear_the_view())

    def open(self, clip: PreparedClip) -> None:
        """Replace the clip that was shown, and stand behind the source camera."""
        self._scene.reset()
        self._moments, self._keys, self._gizmo, self._shown = {}, {}, None, -1
        self._camera, self._pyramids = None, None
        self._clip = clip
        source = clip.source
        if float(np.ptp(source.centers.numpy(), axis=0).max()) > 1e-6:
            lines = frustum_lines(source[_spread(len(source))], 0.05 * clip.radius)
            self._way("/source_path/line", source, np.array(GRAY), 2.0)
            self._lines("/source_path/cameras", lines, np.array(GRAY), 1.0)
        self.go_home()

    @property
    def _opened(self) -> PreparedClip:
        if self._clip is None:
            raise ValueError("Open a clip first.")
        return self._clip

    def send(self, moment: int) -> None:
        """Send the points of a moment to the browser, once."""
        clip = self._opened
        if moment in self._moments:
            return
        kept = clip.cloud.valid[moment].nonzero()[:, 0]
        kept = kept[:: max(1, math.ceil(len(kept) / MOST_POINTS))]
        colors = (clip.cloud.colors[moment][kept] * 255).round().byte().numpy()
        self._moments[moment] = self._scene.add_point_cloud(
            f"/moments/{moment}",
            clip.cloud.points[moment][kept].numpy(),
            colors,
            point_size=self._point_size,
            point_shape="rounded",
            point_shading="flat",
            visible=moment == self._shown,
        )

    @property
    def _point_size(self) -> float:
        clip = self._opened
        thin = max(1.0, clip.cloud.points.shape[1] / MOST_POINTS) ** 0.5
        return self._size * thin * float(clip.cloud.spacing[0].median())

    def resize_points(self, factor: float) -> None:
        """Draw points by this factor larger than the distance between them."""
        self._size = factor
        for cloud in list(self._moments.values()):
            cloud.point_size = self._point_size

    def show_moment(self, moment: int) -> None:
        """The cloud and the source camera of a source frame."""
        if moment == self._shown:
            return
        self.send(moment)
        before, self._shown = self._shown, moment
        self._moments[moment].visible = True
        if before in self._moments:
            self._moments[before].visible = False
        clip = self._opened
        self._frustum(
            "/source",
            clip.source,
            moment,
            size=0.16,
            color=GRAY,
            thickness=1.5,
            image=clip.pictures[moment].numpy()[::2, ::2],
            format="jpeg",
            jpeg_quality=70,
            visible=True,
        )

    def show_design(self, design: Design, cameras: Cameras, selected: int | None) -> None:
        """The path from dark to bright, its keys, a gizmo on the selected one, and the pivot.

        Args:
            cameras: the design's, one per output frame.
            selected: output frame of a key.
        """
        if len(cameras) > 1:
            self._way("/path/line", cameras, _ramp(len(cameras) - 1), 3.0)
        chosen = _spread(len(cameras))
        lines = frustum_lines(cameras[chosen], 0.07 * self._opened.radius)
        pyramids = self._lines("/path/cameras", lines, _ramp(len(chosen))[:, None], 1.2)
        self._pyramids = pyramids, cameras.centers[chosen].numpy()
        self.clear_the_view()
        self._show_keys(design, cameras, selected)
        radius = self._opened.radius
        self._scene.add_icosphere(
            "/pivot",
            radius=0.025 * radius,
            color=ORANGE if design.pivot is not None else GRAY,
            position=design.pivot or (0.0, 0.0, radius),
            cast_shadow=False,
            receive_shadow=False,
        )

    def show_frame(self, cameras: Cameras, frame: int) -> None:
        """The new camera in an output frame."""
        self._camera = self._frustum(
            "/camera", cameras, frame, size=0.13, color=ORANGE, thickness=2.5
        )

    def _way(self, name: str, cameras: Cameras, colors: np.ndarray, width: float) -> None:
        """A line through the cameras; a color for each of its pieces, or one."""
        centers = cameras.centers.numpy()
        self._lines(name, np.stack([centers[:-1], centers[1:]], axis=1), colors, width)

    def _lines(
        self, name: str, pieces: np.ndarray, colors: np.ndarray, width: float
    ) -> viser.LineSegmentsHandle:
        """Pieces with two ends each, `... 2 3`, and their colors, `... 3`, which broadcast."""
        colors = np.broadcast_to(np.expand_dims(colors, -2), pieces.shape)
        return self._scene.add_line_segments(
            name,
            pieces.reshape(-1, 2, 3).astype(np.float32),
            colors.reshape(-1, 2, 3).astype(np.uint8),
            thickness=width,
            thickness_units="screen",
        )

    def _frustum(
        self, name: str, cameras: Cameras, frame: int, *, size: float, **look: Any
    ) -> viser.CameraFrustumHandle:
        """A camera as a pyramid, `size` times as large as the subject is far."""
        wxyz, position = placed(cameras.camera_to_world[frame])
        look = {"visible": not self._in_the_way(position)} | look
        return self._scene.add_camera_frustum(
            name,
            vertical_fov(cameras.K[frame], cameras.height),
            cameras.width / cameras.height,
            scale=size * self._opened.radius,
            thickness_units="screen",
            wxyz=wxyz,
            position=position,
            cast_shadow=False,
            **look,
        )

    # Keys ----------------------------------------------------------------------------------------

    def _show_keys(self, design: Design, cameras: Cameras, selected: int | None) -> None:
        frames = {key.frame or 0 for key in design.keys} if design.kind == "keys" else set()
        for frame in set(self._keys) - frames:
            self._keys.pop(frame).remove()
        for frame in frames:
            wxyz, position = placed(cameras.camera_to_world[frame])
            color = GREEN if frame == selected else BLUE
            if frame in self._keys:
                key = self._keys[frame]
                key.wxyz, key.position, key.color = wxyz, position, color
                key.fov = vertical_fov(cameras.K[frame], cameras.height)
            else:
                self._keys[frame] = self._frustum(
                    f"/keys/{frame}",
                    cameras,
                    frame,
                    size=0.075,
                    color=color,
                    thickness=2.0,
                    variant="filled",
                )
                self._keys[frame].on_click(lambda _, frame=frame: self._chosen(frame))
        self._place_gizmo(cameras, selected if selected in frames else None)

    def _place_gizmo(self, cameras: Cameras, selected: int | None) -> None:
        if selected is None:
            if self._gizmo is not None:
                self._gizmo.remove()
                self._gizmo = None
            return
        wxyz, position = placed(cameras.camera_to_world[selected])
        visible = not self._in_the_way(position)
        if self._gizmo is not None:
            self._gizmo.wxyz, self._gizmo.position = wxyz, position
            self._gizmo.visible = visible
            return
        self._gizmo = self._scene.add_transform_controls(
            "/gizmo",
            scale=0.18 * self._opened.radius,
            line_width=2.0,
            disable_sliders=True,
            opacity=0.9,
            wxyz=wxyz,
            position=position,
            visible=visible,
        )
        self._gizmo.on_update(self._gizmo_moved)

    def _gizmo_moved(self, event: viser.TransformControlsEvent) -> None:
        # A pose that this code has set comes back without a client.
        if event.client is not None:
            pose = pose_of(event.target.wxyz, event.target.position)
            self._dragged(pose, event.phase == "end")

    def clear_the_view(self) -> None:
        """Hide the cameras that the visitor stands in; from inside they would cover everything."""
        for node in (self._camera, self._gizmo, *list(self._keys.values())):
            if node is not None:
                visible = not self._in_the_way(node.position)
                if node.visible != visible:
                    node.visible = visible
        if self._pyramids is not None:
            pyramids, centers = self._pyramids
            pyramids.visible = not any(self._in_the_way(center) for center in centers)

    def _in_the_way(self, position: np.ndarray) -> bool:
        """Whether the viewport is inside the drawn camera, which would cover everything."""
        try:
            here = self._client.camera.position
        except AssertionError:  # raised by viser until the browser has sent its camera
            return False
        return float(np.linalg.norm(position - here)) < 0.2 * self._opened.radius

    # The viewport --------------------------------------------------------------------------------

    def go_home(self) -> None:
        """Stand behind and above the source camera."""
        clip = self._clip
        if clip is None:
            return
        r = clip.radius
        camera = self._client.camera
        with self._client.atomic():
            camera.up_direction = (0.0, -1.0, 0.0)
            camera.position = (0.5 * r, -0.45 * r, -0.75 * r)
            camera.look_at = (0.1 * r, -0.12 * r, r)

    def look_through(self, cameras: Cameras, frame: int) -> None:
        """Stand where the new camera stands in an output frame, with its lens."""
        clip = self._opened
        to_world = cameras.camera_to_world[frame].double().numpy()
        camera = self._client.camera
        with self._client.atomic():
            camera.up_direction = tuple(-to_world[:3, 1])
            camera.position = tuple(to_world[:3, 3])
            camera.look_at = tuple(to_world[:3, 3] + clip.radius * to_world[:3, 2])
            camera.fov = viewport_fov(
                vertical_fov(cameras.K[frame], cameras.height),
                cameras.width / cameras.height,
                camera.aspect,
            )

    def viewport(self) -> tuple[Float[Tensor, "4 4"], float]:
        """World to camera of the viewport, and the vertical field of view, in degrees, of the
        largest frame of the clip's shape in it."""
        camera = self._client.camera
        clip = self._opened
        fov = frame_fov(camera.fov, clip.source.width / clip.source.height, camera.aspect)
        return pose_of(camera.wxyz, camera.position), math.degrees(fov)


def viewport_fov(frame_fov_rad: float, frame_aspect: float, view_aspect: float) -> float:
    """The vertical field of view in which a frame just fits into a viewport, radians."""
    grown = max(1.0, frame_aspect / max(view_aspect, 1e-3))
    return 2 * math.atan(math.tan(frame_fov_rad / 2) * grown)


def frame_fov(view_fov_rad: float, frame_aspect: float, view_aspect: float) -> float:
    """The inverse of `viewport_fov`."""
    grown = max(1.0, frame_aspect / max(view_aspect, 1e-3))
    return 2 * math.atan(math.tan(view_fov_rad / 2) / grown)


def _spread(frames: int) -> list[int]:
    """The frames whose cameras are drawn."""
    return sorted(set(np.linspace(0, frames - 1, SHOWN_CAMERAS).round().astype(int).tolist()))


def _ramp(count: int) -> np.ndarray:
    """Colors from dark blue to bright yellow, `count 3`."""
    stops = np.array([(70, 60, 140), (40, 140, 150), (120, 200, 90), (250, 230, 60)])
    at = np.linspace(0, len(stops) - 1, count)
    return np.stack([np.interp(at, range(len(stops)), channel) for channel in stops.T], axis=1)
