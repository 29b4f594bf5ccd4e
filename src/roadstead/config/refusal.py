"""The error that the settings' validators raise: what is wrong, and how to mend it."""


class UnusableValueError(ValueError):
    """A value cannot be used; ``reason`` completes "this value ...", ``fix`` says what to do.

    A ValueError, because that is what pydantic collects; ``roadstead.config.problems`` turns
    it into a ConfigProblem.
    """

    def __init__(self, reason: str, *, fix: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix
