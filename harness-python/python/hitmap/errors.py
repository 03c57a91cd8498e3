"""What hitmap raises. Each message says what to do next.

Wrong arguments raise ``TypeError`` or ``ValueError``, as everywhere in Python.
"""


class HitmapError(Exception):
    """The base of hitmap's own exceptions."""


class HarnessError(HitmapError):
    """A harness cannot be found, or cannot travel to the workers."""


class CampaignError(HitmapError):
    """A campaign could not be run."""


class IsolatedError(HitmapError):
    """A call cannot be run in a child, or what it gave cannot be carried back."""


class LoadFailure(HarnessError):
    """A worker cannot load its harness.

    ``code`` is a failure code of the control protocol, ``text`` what the engine shows beside it.
    """

    NO_FILE = 1
    IMPORT = 2
    NO_HARNESS = 3
    SEVERAL_HARNESSES = 4
    NO_SUCH_HARNESS = 5
    OTHER = 6
    NO_VARIANT = 7

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
