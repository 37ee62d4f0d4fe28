"""An environment outside the checkout with Lanes from its wheel; the dependencies are those of the checkout."""

import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

UV = Path(sys.executable).with_name("uv")
CHECKOUT = Path(__file__).parents[1]


def installed(folder: Path, checkout: Path = CHECKOUT) -> Path:
    """Build the wheel and install it in `folder`; return the Python of that environment."""
    run(UV, "build", "--quiet", "--wheel", "--out-dir", folder, checkout, within=folder)
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", within=folder)
    found = folder / "venv/bin/python"
    (wheel,) = folder.glob("*.whl")
    run(UV, "pip", "install", "--quiet", "--no-deps", "--python", found, wheel, within=folder)
    (site,) = folder.glob("venv/lib/*/site-packages")
    (site / "needs.pth").write_text(sysconfig.get_path("purelib"))
    return found


def run(*command: object, within: Path, variables: Mapping[str, str] | None = None) -> str:
    """Run the command, assert that it succeeds, and return its output."""
    asked = [str(each) for each in command]
    ran = subprocess.run(
        asked, cwd=within, env=variables, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
