"""What tests with registries share: accounts, starting a registry, looking for an image."""

import docker.errors

from simulator.rig.registry import Registry, RegistryMissingError

USER, PASSWORD = "herder", "open-sesame"


def started(missing_part, **options):
    """A registry, where one is to be had."""
    try:
        return Registry(**options).start()
    except RegistryMissingError as error:
        missing_part(error)


def has(docker_client, name):
    """Whether the image is here."""
    try:
        return bool(docker_client.inspect_image(name))
    except docker.errors.ImageNotFound:
        return False
