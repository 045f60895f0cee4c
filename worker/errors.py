"""The errors of the worker, as one tree.

    WorkerError                        code: str, stable; sent to cattle and logged
     +- PayloadError                   the event cannot be read or is not supported
     |   +- UnknownEventError          no operation with that name
     |   +- ProtectedContainerError    the event would stop cowpoke itself
     +- EngineError                    the Docker Engine refused
     |   +- EngineUnavailableError     unreachable, timed out, 5xx              (retryable)
     |   |   +- ContainerUnreadableError   one container cannot be inspected    (retryable)
     |   +- EngineBusyError            busy with the same object                (retryable)
     |   |   +- RemovalUnderWayError   the container is being removed           (retryable)
     |   +- ImageMissingError
     |   +- ImageInUseError
     |   +- ImagePullError
     |   +- ImageBuildError
     |   +- ContainerMissingError
     |   +- ContainerStrandedError
     |   +- NameConflictError
     |   +- VolumeMissingError
     |   +- VolumeInUseError
     +- StorageDriverError             a storage driver of Rancher refused
     |   +- StorageDriverAbsentError   nobody listens at its socket             (retryable)
     |   +- StorageDriverSlowError     it does not answer in time               (retryable)
     +- OperationError                 Docker succeeded, the wanted state was not reached
     +- ImageNeededError               the image must be pulled first, in the images lane
     +- NetworkFailedError             the managed network of a container is not there
     +- NotYetError                    something needs time and no slot               (retryable)
     +- LockHeldError                  another event is working on the resource         (retryable)
     +- HandleShortageError            this process or machine has no free file handle  (retryable)
     +- HostFactsError                 a fact about the host is not available
     +- JoinError                      this host cannot join Rancher, or leave it
     |   +- HostRemovedError           Rancher removed the host; its keys are dead
     +- MappingConflictError           two rules set one key: a bug
     +- InternalError                  an unforeseen exception: a bug

Messages are for people; ``code`` is for programs. Only the type of an error (`RetryableError`)
decides whether it is retried. Every class takes one positional message first, so that it can be
pickled.
"""

from typing import Self


class WorkerError(Exception):
    """Base class of all errors: raised when a host cannot do what an event asks."""

    code = "worker-error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def with_message(self, message: str) -> Self:
        """Return the same error with another text, and without its causes."""
        changed = type(self)(message)
        changed.__dict__.update({**self.__dict__, "message": message})
        changed.args = (message, *self.args[1:])
        return changed


class EventFailedError(Exception):
    """Raised to Celery instead of the error of an event; its text is only the code.

    Celery writes the text and the representation of an error to Redis in clear.
    ``message`` is written to the sealed outcome.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.code

    def __repr__(self) -> str:
        return self.code


class RetryableError(WorkerError):
    """A mix-in for temporary errors: the event is requeued and retried within its deadline."""

    code = "retryable"


class PayloadError(WorkerError):
    """Raised when an event cannot be read or is not supported; a retry cannot help."""

    code = "payload-invalid"


class UnknownEventError(PayloadError):
    """Raised when no operation has the name of the event."""

    code = "event-unknown"


class ProtectedContainerError(PayloadError):
    """Raised when an event would stop or remove a part of cowpoke itself."""

    code = "container-protected"


class EngineError(WorkerError):
    """Raised when the Docker Engine refuses a request."""

    code = "engine-refused"


class EngineUnavailableError(EngineError, RetryableError):
    """Raised when the Engine cannot be reached, does not answer in time, or answers 5xx."""

    code = "engine-unavailable"


class EngineBusyError(EngineError, RetryableError):
    """Raised when the Engine is busy with the same object, such as a removal in progress."""

    code = "engine-busy"


class ContainerUnreadableError(EngineUnavailableError):
    """Raised when the Engine cannot inspect a container, such as one whose layer is damaged."""

    code = "container-unreadable"


class RemovalUnderWayError(EngineBusyError):
    """Raised when a removal of the container is already in progress."""

    code = "removal-under-way"


class ImageMissingError(EngineError):
    """Raised when the image is not on this host."""

    code = "image-missing"


class ImageInUseError(EngineError):
    """Raised when the last name of an image cannot be removed because a container uses it."""

    code = "image-in-use"


class ImagePullError(EngineError):
    """Raised when a pull ended without the image, with the message of the registry."""

    code = "image-pull-failed"


class ImageBuildError(EngineError):
    """Raised when a build ended without the image, with the message of the build."""

    code = "image-build-failed"


class ContainerMissingError(EngineError):
    """Raised when a container that an operation needs is not on this host."""

    code = "container-missing"


class ContainerStrandedError(EngineError):
    """Raised when dockerd was killed during a start and refuses to start the container since."""

    code = "container-stranded"


class NameConflictError(EngineError):
    """Raised when another container has the wanted name."""

    code = "name-conflict"


class VolumeMissingError(EngineError):
    """Raised when a volume is not on this host."""

    code = "volume-missing"


class VolumeInUseError(EngineError):
    """Raised when a volume cannot be removed because a container uses it."""

    code = "volume-in-use"


class StorageDriverError(WorkerError):
    """Raised when a storage driver of Rancher refuses a call, with the words of the driver."""

    code = "storage-driver-failed"


class StorageDriverAbsentError(StorageDriverError, RetryableError):
    """Raised when the socket of a storage driver is missing, or nobody listens there."""

    code = "storage-driver-absent"


class StorageDriverSlowError(StorageDriverError, RetryableError):
    """Raised when a storage driver does not answer in time."""

    code = "storage-driver-slow"


class OperationError(WorkerError):
    """Raised when Docker succeeded but the wanted state was not reached."""

    code = "operation-failed"


class ImageNeededError(WorkerError):
    """Raised in a lane that must not pull when the image of a container is missing."""

    code = "image-needed"


class NetworkFailedError(WorkerError):
    """Raised when a container got no address in its managed network, with CNI's message."""

    code = "network-failed"


class NotYetError(RetryableError):
    """Raised when an event has to wait for something outside of this worker.

    The event returns to the queue for `retry_in_s` and holds no slot meanwhile. All work of the try
    that raises it must be done: the next try only looks again.
    """

    code = "not-yet"

    def __init__(self, message: str, retry_in_s: float = 1.0) -> None:
        super().__init__(message)
        self.args = (message, retry_in_s)
        self.retry_in_s = retry_in_s


class LockHeldError(RetryableError):
    """Raised when another event is working on the resource and did not finish in time."""

    code = "lock-held"


class HandleShortageError(RetryableError):
    """Raised when a file or a socket cannot be opened because all file handles are in use."""

    code = "handle-shortage"


class HostFactsError(WorkerError):
    """Raised when a fact about this host is not available."""

    code = "host-facts-missing"


class JoinError(WorkerError):
    """Raised when this host cannot join Rancher or leave it; the text says what to do."""

    code = "join-failed"


class HostRemovedError(JoinError):
    """Raised when the server does not accept the keys of this host any more."""

    code = "host-removed"


class MappingConflictError(WorkerError):
    """Raised when two rules set the same key of the create body: a bug, not a user error."""

    code = "mapping-conflict"


class InternalError(WorkerError):
    """Raised instead of an unforeseen exception, whose text may contain secrets."""

    code = "internal-error"
