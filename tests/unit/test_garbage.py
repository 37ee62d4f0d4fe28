"""Programs that load many modules and end soon rarely collect cyclic garbage: not during imports, and not at exit."""

import subprocess
import sys

import pytest

MUCH = "looked = []; gc.callbacks.append(lambda *_: looked.append(1)); many = [[] for _ in range(15_000)]; print(len(looked))"
AT_THE_END = "atexit.register(lambda: print(gc.get_threshold()[0], gc.get_freeze_count() > 0))"


def said(program: str) -> list[str]:
    command = [sys.executable, "-c", f"import atexit, gc, runpy, sys; {program}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_allocating_15_000_lists_triggers_no_garbage_collection() -> None:
    assert said(f"from lanes import collect_garbage_seldom; collect_garbage_seldom(); {MUCH}") == [
        "0"
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "argument"), [("lanes.__main__", "--help"), ("lanes.stand.chain", "this")]
)
def test_a_short_program_raises_the_collection_threshold_and_freezes_its_objects(
    program: str, argument: str
) -> None:
    begun = f"{AT_THE_END}; sys.argv = ['it', {argument!r}]; runpy.run_module({program!r}, run_name='__main__')"
    assert said(begun)[-1] == "20000 True"
