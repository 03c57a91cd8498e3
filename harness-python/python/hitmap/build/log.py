"""Reads what the compilers wrote down while a package was built: see `wrapper` and `diagnose`."""

import os


class Log:
    """So far."""

    def __init__(self, path):
        self.path = path
        self.clear()

    def clear(self):
        self.compiled = self.linked = 0
        self.checks = 0             # calls that only tried the compiler out
        self.last = ""
        self.failed, self.errors, self.asserts = [], [], []

    def read(self):
        self.clear()
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    self.take(*line.rstrip("\n").partition(" ")[::2])
        except FileNotFoundError:
            pass
        return self

    def take(self, verb, text):
        if verb in ("compile", "link"):
            self.compiled += verb == "compile"
            self.linked += verb == "link"
            self.last = os.path.basename(text)
        elif verb == "check":
            self.checks += 1
        elif verb == "failed":
            self.failed.append(text)
        elif verb == "error":
            self.errors.append(text)
        elif verb == "asserts":
            self.asserts.append(text)

    @property
    def called(self):
        """Whether the compiler was called at all."""
        return self.compiled + self.linked + self.checks > 0
