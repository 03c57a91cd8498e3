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
