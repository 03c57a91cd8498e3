"""Tells how a build goes: a live line on a terminal, plain lines otherwise. Owns standard error's last line."""

import os
import sys
import time

PLAIN_EVERY = 5.0   # seconds between plain lines that only count on
SAME_EVERY = 60.0   # and between two that say the same
LIVE_EVERY = 0.2


class Progress:
    def __init__(self, stream=None, clock=time.monotonic):
        self.stream = sys.stderr if stream is None else stream
        self.live = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.clock = clock
        self.start = self.last = clock()
        self.shown = 0
        self.said = ""      # counted last
        self.told = set()   # by `once`

    def say(self, text):
        """A line that stays."""
        self.clear()
        print(text, file=self.stream, flush=True)

    def step(self, text):
        """A line that stays, with the time."""
        self.say(f"[{self.seconds():4.0f} s] {text}")

    def once(self, text):
        """A step, unless it was told already: a package is built more than once."""
        if text not in self.told:
            self.told.add(text)
            self.step(text)

    def count(self, text):
        """Something moved on; shown when it is time."""
        now = self.clock()
        every = LIVE_EVERY if self.live else PLAIN_EVERY if text != self.said else SAME_EVERY
        if now - self.last < every:
            return
        self.last, self.said = now, text
        line = f"[{self.seconds():4.0f} s] {text}"
        if not self.live:
            self.say(line)
            return
        width = os.get_terminal_size(self.stream.fileno()).columns or 80
        line = line[: max(width - 1, 20)]
        self.clear()
        self.stream.write(line)
        self.stream.flush()
        self.shown = len(line)

    def clear(self):
        if self.shown:
            self.stream.write("\r" + " " * self.shown + "\r")
            self.shown = 0

    def seconds(self):
        return self.clock() - self.start
