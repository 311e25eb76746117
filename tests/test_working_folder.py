"""Nothing depends on what lies in the folder that a command, or the tests, run from."""

from pathlib import Path

from conftest import MISLEADING


def test_all_tests_run_in_a_folder_full_of_misleading_names(working_folder: Path) -> None:
    assert Path.cwd() == working_folder
    assert {path.name for path in working_folder.iterdir()} == set(MISLEADING)
