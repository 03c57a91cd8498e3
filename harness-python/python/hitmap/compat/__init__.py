"""Other tools' interfaces, so that scripts which were written for them run as they are."""
