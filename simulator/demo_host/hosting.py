"""The steps about the host: join, leave, take over from `rancher-agent`, give it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.narration import StepFailedError, say
from simulator.rig.containers import remove_containers
from simulator.rig.old_agent import OLD_AGENT, start_old_agent, state_of

if TYPE_CHECKING:
    from simulator.demo_host.stage import Stage


class Hosting:
    """One host: joined, left, taken over."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._rig = stage.rig
        self._url = ""
        self._id = ""
        self._old_agent = ""

    def join(self) -> None:
        """Join by the url that Rancher's page for a new host shows."""
        self._url = self._rig.registration_url()
        self._run_join()
        host = self._rig.wait_host()
        self._id = host["id"]
        self._stage.host_id = int(self._id.removeprefix("1h"))
        say("cattle", f"has host {self._id}, uuid {host['reportedUuid']}")

    def join_again(self) -> None:
        """Run the same command again: the same identity, no second host."""
        self._run_join()
        self._same_host()

    def leave(self) -> None:
        """Leave, and stop the worker."""
        self._stage.run_command("leave")
        if self._rig.note() is not None:
            raise StepFailedError("the keys of the host are still in Redis")
        self._stage.stop_worker()

    def become_old(self) -> None:
        """Leave, and start a container that stands in for the old agent of this host."""
        note = self._rig.note()
        if note is None:
            raise StepFailedError("the host has handed over no keys")
        self.leave()
        environment = {
            "CATTLE_URL": note.cattle_url,
            "CATTLE_ACCESS_KEY": note.access_key,
            "CATTLE_SECRET_KEY": note.secret_key,
        }
        start_old_agent(self._stage.client, self._stage.image, self._stage.rig.folder, environment)
        say("docker", f"{OLD_AGENT} runs: a stand-in with the keys and files of host {self._id}")

    def plan_take_over(self) -> None:
        """Ask what a take-over would do."""
        before = state_of(self._stage.client, OLD_AGENT)
        self._stage.run_command("join", "--take-over", "--dry-run")
        after = state_of(self._stage.client, OLD_AGENT)
        if after != before:
            raise StepFailedError(f"a dry run changed {OLD_AGENT} from {before} to {after}")
        say("docker", f"{OLD_AGENT} runs as before")

    def take_over(self) -> None:
        """Take the host over; no container but the old agent's is touched."""
        before = self._stage.states()
        self._stage.start_worker()
        self._stage.run_command("join", "--take-over")
        self._agent_is(is_running=False, policy="no")
        self._same_host()
        self._untouched(before)
        if any(one["externalId"] == self._old_agent for one in self._rig.cattle.instances()):
            say("cattle", f"also knows {OLD_AGENT} now, like any container started by hand")

    def give_back(self) -> None:
        """Give the host back to the old agent."""
        before = self._stage.states()
        self._stage.run_command("leave", "--give-back")
        self._agent_is(is_running=True, policy="always")
        self._stage.stop_worker()
        self._untouched(before)

    def return_(self) -> None:
        """Remove the old agent, and join as the same host once more."""
        before = self._stage.states()
        say("you", f"docker rm -f {OLD_AGENT}")
        remove_containers(self._stage.client, OLD_AGENT)
        self._stage.start_worker()
        self.join_again()
        self._untouched(before)

    def _run_join(self) -> None:
        # The token is a secret.
        shown = f"join {self._url.rpartition('/')[0]}/TOKEN"
        self._stage.run_command("join", self._url, shown=shown)

    def _same_host(self) -> None:
        hosts: list[dict[str, Any]] = self._rig.hosts()
        found = [one["id"] for one in hosts]
        if found != [self._id]:
            raise StepFailedError(f"wanted host {self._id} alone in cattle, found {found}")
        registers = self._rig.cattle.registers()
        if len(registers) != 1:
            raise StepFailedError(f"wanted one register object, cattle has {len(registers)}")
        say("cattle", f"still has one host, {self._id}: the same one")

    def _agent_is(self, *, is_running: bool, policy: str) -> None:
        found = state_of(self._stage.client, OLD_AGENT)
        if (found.is_running, found.restart_policy) != (is_running, policy):
            raise StepFailedError(f"{OLD_AGENT} is {found}")
        runs = "runs" if is_running else "is stopped"
        say("docker", f"{OLD_AGENT} {runs}, restart policy {policy}")

    def _untouched(self, before: dict[str, str]) -> None:
        after = self._stage.states()
        if after != before:
            raise StepFailedError(f"wanted the same ids and start times {before}, found {after}")
        say("docker", f"{len(after)} containers of the stack: same ids, same start times")
