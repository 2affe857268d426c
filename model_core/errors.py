"""Every error that relrec raises on purpose.

A user-facing error always answers four questions: where it happened, what was
expected, what was found and how to fix it. Invariants of our own code use
``assert``; they are not part of this tree.
"""


def one_line(said: object) -> str:
    """What another library's error says, to be quoted: one line, at most 300 characters, no full stop.

    Example:
        >>> one_line(ValueError("no such\\n  column."))
        'no such column'
    """
    return " ".join(str(said).split())[:300].rstrip(".")


class RelrecError(Exception):
    """Base of all errors meant for a person to read.

    Args:
        where: The thing at fault: a file, a table and column, a config key.
        expected: What relrec needs there.
        found: What is there instead.
        fix: What to do about it, in the imperative.
    """

    def __init__(self, where: str, expected: str, found: str, fix: str) -> None:
        self.where, self.expected, self.found, self.fix = where, expected, found, fix
        super().__init__(f"{self.fault}. Fix: {fix}.")

    @property
    def fault(self) -> str:
        """The message without how to fix it, for a record of what went wrong elsewhere."""
        return f"{self.where}: expected {self.expected}, found {self.found}"

    def __reduce__(self) -> tuple:
        return type(self), (self.where, self.expected, self.found, self.fix)


class DataError(RelrecError):
    """The dataset, a task definition or a label table is not usable."""


class ConfigError(RelrecError):
    """A configuration key or value is not usable."""


class ArtifactError(RelrecError):
    """A stored record is missing, damaged, of another kind or of another version."""


class TrainingError(RelrecError):
    """Training cannot go on, for example because the loss is not finite."""


class Stopped(Exception):
    """Work that was asked to end has ended; what was done is kept, and a repeated call goes on."""


class EvaluationError(RelrecError):
    """Scores or predictions cannot be ranked or compared."""


class ExportError(RelrecError):
    """The exported model does not reproduce the trained one."""


class RegistryError(RelrecError):
    """The model registry refused a change."""


class StorageError(RelrecError):
    """An object store cannot be reached, refuses a request or holds damaged data."""


class StepError(RelrecError):
    """A pipeline step failed or did not write what it declared."""
