"""Sources of Debian packages, by apt, without root and without touching the system's own lists."""

import glob
import os
import re
import subprocess
from pathlib import Path

from peers.builder import Unavailable


def source(package: str, home: Path) -> Path:
    """The unpacked upstream source of a package, fetched when it is not in `home`.

    Raises:
        Unavailable: when apt or the network is not there.
    """
    unpacked = home / package
    if (unpacked / ".done").exists():
        return unpacked
    lists = home / "apt"
    (lists / "parts").mkdir(parents=True, exist_ok=True)
    (lists / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    sources(lists / "parts")
    options = [
        f"Dir::Etc::sourcelist={os.devnull}",
        f"Dir::Etc::sourceparts={lists}/parts",
        f"Dir::State::lists={lists}/lists",
    ]
    apt = ["apt-get", "-q", *[word for option in options for word in ("-o", option)]]
    said(apt + ["update"], lists)
    said(apt + ["source", "--download-only", package], lists)
    archives = glob.glob(f"{lists}/{package}_*.orig.tar.*")
    if len(archives) != 1:
        raise Unavailable(f"Debian has no source of {package}")
    unpacked.mkdir(parents=True, exist_ok=True)
    said(["tar", "xf", archives[0], "-C", str(unpacked), "--strip-components=1"], lists)
    (unpacked / ".done").touch()
    return unpacked


def sources(parts: Path) -> None:
    """The system's own package sources, turned into sources of source packages."""
    for path in map(Path, ["/etc/apt/sources.list", *glob.glob("/etc/apt/sources.list.d/*")]):
        if path.suffix not in (".list", ".sources") or not path.exists():
            continue
        text = re.sub(r"^Types: .*$", "Types: deb-src", path.read_text(), flags=re.MULTILINE)
        (parts / path.name).write_text(re.sub(r"^deb ", "deb-src ", text, flags=re.MULTILINE))


def said(command: list[str], folder: Path) -> None:
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if run.returncode != 0:
        raise Unavailable(f"{' '.join(command[:1])} failed; are Debian's package sources reachable?\n{run.stderr[-500:]}")
