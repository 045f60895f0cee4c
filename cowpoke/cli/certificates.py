"""The arguments of `cowpoke certificates`.

Imports stand in the command: `cowpoke --help` loads this module.
"""

import sys
from pathlib import Path

import click


@click.command(short_help="Make a certificate for Redis.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--name",
    "names",
    required=True,
    multiple=True,
    help="A name or an address by which hosts reach Redis; may be given several times.",
)
@click.option(
    "--owner",
    type=int,
    metavar="UID",
    help="User id of Redis: it gets the key, and may open files of the folder.",
)
def certificates(folder: Path, names: tuple[str, ...], owner: int | None) -> None:
    """Make an authority (ca.crt, ca.key) and a certificate for Redis (redis.crt, redis.key).

    Existing files are kept. The certificate is valid for ten years. A new one is made for other
    names, and in the last year: restart Redis then. Hosts trust the authority, so they need no new
    bundle.
    """
    import datetime as dt  # noqa: PLC0415

    from cowpoke.certificates import (  # noqa: PLC0415
        CERTIFICATE,
        Certificates,
        end_of,
        write_certificates,
    )

    wanted = Certificates(folder=folder, names=names, owner=owner)
    try:
        written = write_certificates(wanted, dt.datetime.now(dt.UTC))
        end = end_of(folder / CERTIFICATE)
    except ValueError as error:
        sys.exit(f"cowpoke certificates: {error}")
    except OSError as error:
        place = error.filename or folder
        sys.exit(f"cowpoke certificates: cannot read or write {place}: {error.strerror}")
    for path in written:
        click.echo(f"written: {path}")
    click.echo(f"{folder / CERTIFICATE} is valid until {end:%Y-%m-%d}")
