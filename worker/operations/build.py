"""Build an image from a git URL or a tar file instead of pulling it (A 12.12 to 12.16).

Row numbers (A) refer to docs/parity.md.
"""

import hashlib
from functools import partial
from typing import Any

from cowpoke.log import logger
from worker.engine import builds, images
from worker.engine.builds import Recipe
from worker.engine.single_flight import Job, SharedProgress, SingleFlight
from worker.errors import EngineUnavailableError, ImageBuildError, PayloadError
from worker.image_reference import ImageReference
from worker.operations.build_context import fetched
from worker.operations.build_source import Source, refuse_host, source_of
from worker.operations.context import Host
from worker.payload.image import Build

_log = logger(__name__)


def build_image(
    name: ImageReference, build: Build, host: Host, *, even_if_present: bool = False
) -> dict[str, Any]:
    """Build an image and return its inspect; equal builds of several events run once.

    The output of the build is reported as progress.
    Errors: ImageBuildError with the message of the build; PayloadError for a source that is not
    allowed; EngineUnavailableError; LockHeldError.
    """
    if name.digest:
        raise PayloadError(f"cannot build an image under the digest {name}; use a name with a tag")
    source = source_of(build)
    refuse_host(source.url, host.settings.build_hosts)
    idle_timeout_s = host.settings.build_idle_timeout_s
    shared = SingleFlight(host.locks, host.settings.state_dir, idle_timeout_s=idle_timeout_s)
    job = Job(
        key=f"build:{name}:{_fingerprint(build)}",
        text=f"Building {name} from {source.shown}",
        failure=ImageBuildError,
        present=partial(images.present, host.engine, name),
        work=partial(_build, name, build, source, host),
    )
    return shared.want(job, host.report_progress, even_if_present=even_if_present)


def _build(
    name: ImageReference, build: Build, source: Source, host: Host, progress: SharedProgress
) -> dict[str, Any]:
    recipe = Recipe(
        name=name,
        dockerfile=build.dockerfile,
        nocache=bool(build.nocache),
        forcerm=bool(build.forcerm),
    )
    run = partial(builds.build, idle_timeout_s=host.settings.build_idle_timeout_s)
    try:
        if source.is_git:
            run(host.engine, recipe, source.url, progress)
        else:
            with fetched(source, host.settings, progress) as context:
                run(host.engine, recipe, context, progress)
    except ImageBuildError as error:
        words = source.scrub(error.message)
        # Not chained: the cause may quote the URL with its secrets.
        raise ImageBuildError(f"Image [{name}] failed to build: {words}") from None
    except EngineUnavailableError as error:
        raise EngineUnavailableError(source.scrub(error.message)) from None
    found = images.present(host.engine, name)
    if found is None:
        raise ImageBuildError(f"Image [{name}] failed to build: the build made no image")
    _add_tag(name, build, host)
    _log.info("image.built", image=str(name), source=source.shown)
    return found


def _add_tag(name: ImageReference, build: Build, host: Host) -> None:
    """Also tag the image with `build.tag`, the name that python-agent used.

    A tag without a registry that names the same repository is skipped: as a name it would mean
    Docker Hub.
    """
    also = ImageReference.parse(build.tag) if build.tag else name
    if name.merged(also) is None and also.tag and not also.digest:
        images.tag(host.engine, name, repository=also.repository, tag=also.tag)


def _fingerprint(build: Build) -> str:
    """Return a hash of the build, so that only equal builds share their result."""
    return hashlib.blake2b(build.model_dump_json().encode(), digest_size=8).hexdigest()
