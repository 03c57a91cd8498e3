"""Whoever has a line in the table."""

from abc import ABC, abstractmethod


class Side(ABC):
    """Something that is measured beside others."""

    name: str

    @abstractmethod
    def install(self) -> None:
        """Installs what is missing.

        Raises:
            Unavailable: with the remedy.
        """

    @abstractmethod
    def version(self) -> str:
        """Name and version, for the table."""


class Way(Side):
    """One way to do the row's thing, that our own program knows as `way`; there is nothing to install."""

    def __init__(self, name: str, way: str):
        self.name, self.way = name, way

    def install(self) -> None:
        pass

    def version(self) -> str:
        return self.name
