"""What may go wrong on a host, as one tree.

    WorkerError                        code: str, stable; goes to cattle and to the logs
     +- PayloadError                   cattle asked for something we cannot read or do
     |   +- UnknownEventError          no task of that name
     |   +- UntrustedEventError        not sealed by our bridge for this host and event
     |   +- ProtectedContainerError    the event would stop cowpoke itself
     +- EngineError                    the Docker Engine refused
     |   +- EngineUnavailableError     unreachable, timed out, 5xx              (retryable)
     |   |   +- ContainerUnreadableError   one container cannot be inspected    (retryable)
     |   +- EngineBusyError            busy with the same object                (retryable)
     |   |   +- RemovalUnderWayError   the container is just being removed      (retryable)
     |   +- ImageMissingError
     |   +- ImageInUseError
     |   +- ImagePullError
     |   +- ImageBuildError
     |   +- ContainerMissingError
     |   +- ContainerStrandedError
     |   +- NameConflictError
     |   +- VolumeMissingError
     |   +- VolumeInUseError
     +- OperationError                 Docker obeyed, the wished state was not reached
     +- ImageNeededError               the image must be pulled first, in the lane for images
     +- LockHeldError                  someone else is working on this resource (retryable)
     +- HandleShortageError            this process or machine has no free file handle (retryable)
     +- HostFactsError                 we could not learn what a rule needs
     +- MappingConflictError           two rules own one key: our defect
     +- InternalError                  anything unforeseen: our defect too

Messages are for people and quote what was found; ``code`` is for programs. Whether an error may be
retried is a property of its type (`RetryableError`), decided nowhere else. Every class takes one
positional message, so that each survives pickling.
"""


class WorkerError(Exception):
    """Raised when a host cannot do what an event asks; every error of ours is one."""

    code = "worker-error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class EventFailedError(Exception):
    """Raised instead of an event's error where Celery gets it: its text is the code only.

    Celery writes the text, the representation and the traceback of an error to Redis in clear.
    The sentence in ``message`` goes into the sealed outcome.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.code

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code!r})"


class RetryableError(WorkerError):
    """A mix-in: what fails for a moment is tried again from the queue within its deadline."""

    code = "retryable"


class PayloadError(WorkerError):
    """Raised when the event asks for something we cannot read or do; asking again cannot help."""

    code = "payload-invalid"


class UnknownEventError(PayloadError):
    """Raised when no operation has the event's name."""

    code = "event-unknown"


class UntrustedEventError(PayloadError):
    """Raised when a payload was not sealed by a bridge of ours, for this event, host and time."""

    code = "event-untrusted"


class ProtectedContainerError(PayloadError):
    """Raised when the event would stop or remove a part of cowpoke itself."""

    code = "container-protected"


class EngineError(WorkerError):
    """Raised when the Docker Engine refuses a request."""

    code = "engine-refused"


class EngineUnavailableError(EngineError, RetryableError):
    """Raised when the Engine cannot be reached, does not answer in time, or answers 5xx."""

    code = "engine-unavailable"


class EngineBusyError(EngineError, RetryableError):
    """Raised when the Engine is still busy with the same object, such as a removal in progress."""

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
    """Raised when an image's last name cannot be taken away because a container uses it."""

    code = "image-in-use"


class ImagePullError(EngineError):
    """Raised when a pull ended without the image, with the registry's own words."""

    code = "image-pull-failed"


class ImageBuildError(EngineError):
    """Raised when a build ended without the image, with the build's own words."""

    code = "image-build-failed"


class ContainerMissingError(EngineError):
    """Raised when a container that an operation needs is not on this host."""

    code = "container-missing"


class ContainerStrandedError(EngineError):
    """Raised when the Engine lost track of a start that a kill cut off, and refuses it since."""

    code = "container-stranded"


class NameConflictError(EngineError):
    """Raised when another container has the wished name."""

    code = "name-conflict"


class VolumeMissingError(EngineError):
    """Raised when a volume is not on this host."""

    code = "volume-missing"


class VolumeInUseError(EngineError):
    """Raised when a volume cannot be removed because a container uses it."""

    code = "volume-in-use"


class OperationError(WorkerError):
    """Raised when Docker obeyed and yet the wished state was not reached."""

    code = "operation-failed"


class ImageNeededError(WorkerError):
    """Raised in a lane that must not pull, when the container's image has to be pulled first."""

    code = "image-needed"


class LockHeldError(RetryableError):
    """Raised when someone else is working on the resource and did not finish in time."""

    code = "lock-held"


class HandleShortageError(RetryableError):
    """Raised when a file or a socket cannot be opened because all file handles are in use."""

    code = "handle-shortage"


class HostFactsError(WorkerError):
    """Raised when something a rule needs to know of this host could not be learned."""

    code = "host-facts-missing"


class MappingConflictError(WorkerError):
    """Raised when two rules set the same key of the create body: our defect, never the user's."""

    code = "mapping-conflict"


class InternalError(WorkerError):
    """Raised instead of an unforeseen exception, whose text may hold anything, secrets too."""

    code = "internal-error"
