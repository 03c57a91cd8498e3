"""Where the runtime under test lies, and running programs that must succeed."""

import subprocess
from pathlib import Path

import hitmap

RUNTIME = Path(hitmap.__file__).parent / "_rt" / "libhitmap_rt.so"


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **more)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done
