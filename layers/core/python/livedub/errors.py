"""The errors livedub raises on purpose. Each message names the field, what is wrong with it and the remedy."""


class LivedubError(Exception):
    """Base of every deliberate error; `remedy` is what the reader should do next."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy


class ConfigurationError(LivedubError):
    """A setting is missing, malformed or contradicts another."""


class InvalidInputError(LivedubError):
    """What a caller or a file handed in cannot be used."""


class MissingPrerequisiteError(LivedubError):
    """A program, package or model that this step needs is not installed."""
