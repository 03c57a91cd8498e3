"""``hitmap`` and ``python -m hitmap``: the command line."""

from __future__ import annotations

import signal
import sys

from hitmap import _native


def main() -> None:
    # The command line is Rust and installs its own handler; Python's would only set a flag that nobody reads. An engine
    # is started with Ctrl-C ignored, and stays so until that handler is there.
    if callable(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_native.cli(sys.argv[1:], [sys.executable, "-m", "hitmap"]))


if __name__ == "__main__":
    main()
