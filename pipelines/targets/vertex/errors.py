"""What can go wrong between this machine and Vertex AI, each as one clear sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from model_core.errors import one_line
from pipelines.targets.following import ServiceError


class VertexError(ServiceError):
    """Vertex AI cannot be reached or refuses a request.

    Attributes:
        transient: Whether the same request may succeed later.
    """

    def __init__(self, where: str, expected: str, found: str, fix: str, *, transient: bool = False) -> None:
        super().__init__(where, expected, found, fix)
        self.transient = transient

    def __reduce__(self) -> tuple:
        return _rebuilt, (self.where, self.expected, self.found, self.fix, self.transient)


def _rebuilt(where: str, expected: str, found: str, fix: str, transient: bool) -> VertexError:
    return VertexError(where, expected, found, fix, transient=transient)


@contextmanager
def talking(where: str) -> Iterator[None]:
    """Turn what the client library raises into a VertexError.

    Args:
        where: Project and location, for messages.
    """
    from google.api_core import exceptions
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

    try:
        yield
    except DefaultCredentialsError as error:
        raise VertexError(where, "credentials of Google Cloud", "none on this machine",
                          "run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS"
                          ) from error
    except GoogleAuthError as error:
        raise VertexError(where, "credentials that work", one_line(error),
                          "run gcloud auth application-default login again",
                          transient=error.retryable) from error
    except exceptions.RetryError as error:
        raise VertexError(where, "an answer of Vertex AI", one_line(error), "try again later",
                          transient=True) from error
    except exceptions.GoogleAPICallError as error:
        raise _refused(where, error) from error


def _refused(where: str, error: Exception) -> VertexError:
    from google.api_core import exceptions

    expected, fix, transient = "an answer of Vertex AI", "try again later", True
    for kind, meaning in (
        (exceptions.Unauthenticated, (
            "a caller that is known", "run gcloud auth application-default login", False)),
        (exceptions.PermissionDenied, (
            "a caller that may do this",
            "ask for the role roles/aiplatform.user, the right to act as --service-account, and that the "
            "Vertex AI API is enabled in --project", False)),
        (exceptions.NotFound, (
            "something that is there", "check the name, --project and --location", False)),
        (exceptions.BadRequest, (
            "a request that Vertex AI accepts", "correct what it names", False)),
        (exceptions.ResourceExhausted, (
            "quota for this", "ask for more quota in this region, or try again later", True)),
        (exceptions.Aborted, (expected, fix, transient)),
        (exceptions.Conflict, ("a name that is free", "choose another name", False)),
    ):
        if isinstance(error, kind):
            expected, fix, transient = meaning
            break
    return VertexError(where, expected, one_line(error), fix, transient=transient)
