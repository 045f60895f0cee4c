"""Translate the exceptions of the Docker SDK, requests and urllib3 into our errors.

A closed socket raises an exception of requests, and an error in the middle of a stream may be
urllib3's. So all three families are translated here, most specific first.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import docker.errors
import requests.exceptions
import urllib3.exceptions

from cowpoke.scrubbing import clipped
from worker.errors import (
    ContainerMissingError,
    EngineError,
    EngineUnavailableError,
    ImageBuildError,
    ImageMissingError,
    WorkerError,
)

#: The meaning of a refusal for one call: status and message (lower case) -> our error, or None for
#: the translation below.
Refusal = Callable[[int, str], type[EngineError] | None]

#: Foreign class -> ours. The first class of the method resolution order with an entry decides. A
#: contract test checks that all classes of `docker.errors` have one.
TRANSLATIONS: Mapping[type[Exception], type[EngineError]] = MappingProxyType(
    {
        docker.errors.ImageNotFound: ImageMissingError,
        docker.errors.NotFound: EngineError,
        docker.errors.APIError: EngineError,
        docker.errors.InvalidVersion: EngineError,
        docker.errors.InvalidRepository: EngineError,
        docker.errors.InvalidConfigFile: EngineError,
        docker.errors.InvalidArgument: EngineError,
        docker.errors.DeprecatedMethod: EngineError,
        docker.errors.TLSParameterError: EngineError,
        docker.errors.NullResource: ContainerMissingError,
        docker.errors.ContainerError: EngineError,
        docker.errors.StreamParseError: EngineUnavailableError,
        docker.errors.BuildError: ImageBuildError,
        docker.errors.ImageLoadError: EngineError,
        docker.errors.MissingContextParameter: EngineError,
        docker.errors.ContextAlreadyExists: EngineError,
        docker.errors.ContextException: EngineError,
        docker.errors.ContextNotFound: EngineError,
        docker.errors.DockerException: EngineError,
        requests.exceptions.RequestException: EngineUnavailableError,
        urllib3.exceptions.HTTPError: EngineUnavailableError,
    }
)

_FIRST_SERVER_ERROR = 500
_MOST_WORDS = 2000
_MOST_CAUSE_CHARACTERS = 200


def translated(error: Exception) -> type[EngineError]:
    """Return our class for a foreign exception that is not an answer of the Engine.

    Errors: KeyError for a class outside of the three families.
    """
    return next(TRANSLATIONS[kind] for kind in type(error).__mro__ if kind in TRANSLATIONS)


@contextmanager
def engine_errors(wanted: str, refusal: Refusal | None = None) -> Iterator[None]:
    """Translate all exceptions of a call to the Engine; `wanted` is the purpose of the call.

    Errors: the error that `refusal` names; else EngineUnavailableError (no answer, timeout, 5xx) or
    EngineError with the Engine's message.
    """
    began_s = time.monotonic()
    try:
        yield
    except docker.errors.APIError as error:
        raise _refused(wanted, error, refusal) from error
    except (
        docker.errors.DockerException,
        docker.errors.StreamParseError,
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,
    ) as error:
        reason = _reason(error, time.monotonic() - began_s)
        raise translated(error)(f"cannot {wanted}: {reason}") from error


def _refused(wanted: str, error: docker.errors.APIError, refusal: Refusal | None) -> WorkerError:
    status = error.status_code or 0
    words = str(error.explanation or "no reason given").strip()
    kind = refusal(status, words.lower()) if refusal else None
    if kind is None:
        unavailable = status >= _FIRST_SERVER_ERROR
        kind = EngineUnavailableError if unavailable else translated(error)
    reason = clipped(words, _MOST_WORDS)
    return kind(f"cannot {wanted}: the Docker Engine answered {status}: {reason}")


def _reason(error: Exception, took_s: float) -> str:
    if isinstance(error, requests.exceptions.Timeout) or _is_timeout(error):
        return (
            f"the Docker Engine did not answer within {took_s:.1f} s; check whether dockerd hangs"
        )
    if isinstance(error, requests.exceptions.ConnectionError):
        return f"the Docker Engine cannot be reached ({_root(error)}); check that dockerd runs"
    if isinstance(error, requests.exceptions.RequestException | urllib3.exceptions.HTTPError):
        return f"the Docker Engine closed the connection ({_root(error)})"
    return clipped(str(error), _MOST_WORDS)


def _is_timeout(error: BaseException | None) -> bool:
    """Return whether the cause is a timeout, also in the middle of an answer."""
    while error is not None:
        if isinstance(error, TimeoutError | urllib3.exceptions.ReadTimeoutError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _root(error: BaseException) -> str:
    """Return the message of the innermost cause: `No such file or directory`, without wrappers."""
    inner = error.__cause__ or error.__context__
    if inner is not None and inner is not error:
        return _root(inner)
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return clipped(words, _MOST_CAUSE_CHARACTERS)
