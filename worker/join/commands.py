"""The subcommands `join` and `leave` of `cowpoke`."""

import sys
from pathlib import Path
from typing import Any

import click


@click.command(short_help="Join this host to Rancher.")
@click.argument("url", required=False)
@click.option(
    "--bundle",
    type=click.File(encoding="ascii"),
    help="A file with what `cowpoke hosts add` printed on the hub; - is standard input.",
)
@click.option(
    "--credentials",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="COWPOKE_CREDENTIALS_DIR",
    help="Folder for the settings of a bundle or of a taken over agent.",
)
@click.option(
    "--take-over", is_flag=True, help="Continue as the host of the container rancher-agent."
)
@click.option("--new-register-key", is_flag=True, help="Become a new host: Rancher removed this.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@click.option("--wait", "wait_s", type=float, metavar="SECONDS", help="Maximum time of each wait.")
@click.option("--hand-over", is_flag=True, hidden=True, help="Hand over the kept keys again.")
def join(url: str | None, **options: Any) -> None:  # noqa: ANN401 -- click's
    """Join this host to the Rancher server of URL.

    URL is what Rancher's page for a new host shows, `http://SERVER:8080/v1/scripts/TOKEN`
    (default: CATTLE_REGISTRATION_URL). Without one, the keys that are kept are used.
    """
    from worker.join.command import Options, run_join  # noqa: PLC0415

    sys.exit(run_join(Options(url=url, **options)))


@click.command(short_help="Leave Rancher with this host.")
@click.option("--give-back", is_flag=True, help="Start the container rancher-agent again.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def leave(*, give_back: bool, dry_run: bool) -> None:
    """Take the keys of this host back from the bridges, and forget them.

    The containers of the host keep running, and Rancher keeps the host until it is removed there.
    """
    from worker.join.command import run_leave  # noqa: PLC0415

    sys.exit(run_leave(give_back=give_back, dry_run=dry_run))


@click.command(hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1)
@click.option("--wait", "wait_s", default=300.0, metavar="SECONDS")
@click.option("--redis-port", default=9346)
def agent(words: tuple[str, ...], wait_s: float, redis_port: int) -> None:
    """Understand the arguments of the image rancher/agent; the entry of our image calls it."""
    from worker.join.agent_command import run_agent  # noqa: PLC0415

    sys.exit(run_agent(words, wait_s=wait_s, redis_port=redis_port))
