"""Starting the studio, sessions that outlive a page, and where cameras stand in the scene."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import trajectorycrafter
from trajectorycrafter.cli import run
from trajectorycrafter.config.redirect import RedirectSettings
from trajectorycrafter.config.studio import StudioServer
from trajectorycrafter.geometry.cameras import look_at, rigid_inverse
from trajectorycrafter.studio.app import Sessions, launch
from trajectorycrafter.studio.library import Library
from trajectorycrafter.studio.preparing import Preparer
from trajectorycrafter.studio.scene import frame_fov, placed, pose_of, viewport_fov


def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The import below makes another module of the package's attribute, which is put back.
    monkeypatch.setattr(trajectorycrafter, "studio", sys.modules["trajectorycrafter.studio"])
    for name in [n for n in sys.modules if n.startswith("trajectorycrafter.studio")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "viser", None)
    assert run(["studio"]) == 2
    assert "pip install '.[studio]'" in capsys.readouterr().err


def test_wrong_input_is_told_before_anything_is_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["studio", "nowhere.mp4", "--folder", str(tmp_path / "a")]) == 2
    assert "nowhere.mp4" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    with pytest.raises(ValueError, match="add --share"):
        launch(None, None, StudioServer(host="0.0.0.0", folder=tmp_path / "b"))


def test_a_visitor_finds_his_session_again(tmp_path: Path) -> None:
    library = Library(tmp_path)
    sessions = Sessions(Preparer(None), RedirectSettings())
    first, second = library.user(None), library.user(None)
    mine = sessions.of(first)
    assert sessions.of(second) is not mine
    assert sessions.of(first) is mine
    for _ in range(Sessions.KEPT):
        sessions.of(library.user(None))
    assert sessions.of(first) is not mine


def test_a_camera_goes_to_the_scene_and_back() -> None:
    pose = look_at(torch.tensor([0.4, -1.0, 0.2]), torch.tensor([0.0, 0.5, 3.0]))
    wxyz, position = placed(rigid_inverse(pose))
    assert np.linalg.norm(wxyz) == pytest.approx(1)
    torch.testing.assert_close(pose_of(wxyz, position), pose, rtol=0, atol=1e-6)


@pytest.mark.parametrize("view_aspect", [0.6, 1.0, 2.5])
def test_a_frame_fits_into_the_viewport(view_aspect: float) -> None:
    fov, aspect = math.radians(35), 1.75
    view = viewport_fov(fov, aspect, view_aspect)
    assert frame_fov(view, aspect, view_aspect) == pytest.approx(fov)
    wide = math.tan(view / 2) * view_aspect
    assert wide >= math.tan(fov / 2) * aspect - 1e-9
    assert view >= fov - 1e-9
