"""The stand of one checkout, which commands start, deploy and stop. Any number of commands may use it at once."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lanes.errors import StandError
from lanes.settings import Settings
from lanes.stand.checks import key
from lanes.stand.deploying import release
from lanes.stand.info import FILE, StandInfo, load_info
from lanes.stand.kept import DATABASE, OWN, PREFECT, SLACK, differences, list_variables
from lanes.stand.local import POSTGRES, Users, file_lock
from lanes.stand.postgres import EmbeddedPostgres
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.processes import Processes
from lanes.stand.progress import Silent, StepProgress
from lanes.stand.runs_with import less_own, provider_in, runs_with
from lanes.stand.steps import DEPLOYED, StandStep, list_steps, run_steps
from lanes.stand.whereabouts import find_checkout, find_home
from lanes.stand.worksite import LAST, WORKER, Site, stop_all
from lanes.standing.roles import STANDING

LOOK_EVERY_S = 2.0
NO_PROVIDER = "nothing is answered yet: Prefect has no provider block. Set ANTHROPIC_API_KEY, and run `lanes deploy` again"
PREFECT_S = 5.0  # the longest delay of a stop by one request to Prefect


@dataclass(frozen=True)
class Up:
    """A stand that is up. `started` names the components that this call started."""

    info: StandInfo
    started: tuple[str, ...]


class Stand:
    """Postgres, schema, provider, Prefect and workers of one checkout, with their state under `home`."""

    def __init__(
        self,
        settings: Settings,
        home: Path | None = None,
        checkout: Path | None = None,
        *,
        steps: Sequence[StandStep] | None = None,
        try_key: Callable[[Settings], str | None] = key,
    ) -> None:
        self.settings = settings
        self.checkout = (checkout or find_checkout()).resolve()
        self.home = home.resolve() if home is not None else find_home(settings, self.checkout)
        self.steps = list(steps) if steps is not None else list_steps()
        self._try_key = try_key
        self.users = Users(self.home / "users")
        self.processes = Processes(self.home / "processes", self.home / "logs")

    def up(
        self, progress: StepProgress | None = None, *, keep: bool = True, samples: bool = False
    ) -> Up:
        """Start the components that do not run, and leave the others running.

        With `keep` the stand stays up until `down`. Without it, this process counts as a user of the stand until `leave`, and
        components that were started only for such users end with the last of them. `samples` publishes the sample workloads,
        which an embedded database always gets.

        Raises:
            StandError: the provider refuses the key, or another run uses the stand with other settings: then nothing was
                started or written. Or a step fails: then the components that this call started are stopped again.
        """
        progress = progress or Silent()
        waits = "another `lanes` command is busy with this stand: waiting for it"
        with self._lock(lambda: progress.say(waits)):
            others = bool(self.users.others())
            previous = load_info(self.home)
            settings = less_own(self.settings, previous)
            if others:
                settings = _complete_settings(settings, previous, self.home)
            changed = _report_changes(settings, previous, progress)
            if (warning := self._try_key(settings)) is not None:
                progress.say(warning)
            site = Site(
                settings,
                self.home,
                self.checkout,
                others_present=others,
                thorough=keep,
                changed=changed,
                samples=samples,
            )
            if not keep:
                self.users.enter()
            try:
                run_steps(self.steps, site, progress)
            except BaseException:
                self.users.leave()
                self._stop(set(site.started))
                raise
            owed = set(previous.transient if previous else ()) | set(site.started)
            transient = () if keep else tuple(sorted(owed))
            info = replace(site.info(), transient=transient, settings=list_variables(settings))
            info.save()
        return Up(info, tuple(site.started))

    def deploy(self, progress: StepProgress | None = None, *, samples: bool = False) -> str:
        """Write the objects that all hosts share to the user's own Postgres and Prefect, and return the release.

        No process is started.

        Raises:
            StandError: the address of one of the two is not set, or a step fails.
        """
        progress = progress or Silent()
        needs = {DATABASE: self.settings.database_url, PREFECT: self.settings.prefect_api_url}
        if lacking := [name for name, value in needs.items() if value is None]:
            raise StandError(
                f"{' and '.join(lacking)} must name servers that every host reaches: set them; on one machine, `lanes up` "
                "deploys to servers of its own"
            )
        with self._lock():
            if (warning := self._try_key(self.settings)) is not None:
                progress.say(warning)
            site = Site(self.settings, self.home, self.checkout, samples=samples)
            run_steps([each for each in self.steps if each.name in DEPLOYED], site, progress)
            api = PrefectApi(str(self.settings.prefect_api_url))
            if self.settings.anthropic_api_key is None and provider_in(api) is None:
                progress.say(NO_PROVIDER)
        return release()

    def leave(self, progress: StepProgress | None = None) -> tuple[str, ...]:
        """Leave the stand; the last user to leave stops the components that were started only for users.

        Returns:
            The names of the stopped components.
        """
        with self._lock():
            self.users.leave()
            info = load_info(self.home)
            if info is None or not info.transient or self.users.others():
                return ()
            return self._stop(set(info.transient), progress)

    def down(self, progress: StepProgress | None = None) -> tuple[str, ...]:
        """Stop everything that the stand started, but not the user's own services; return the names of the stopped ones."""
        if not self.home.exists():
            return ()
        with self._lock():
            return self._stop(None, progress)

    def until_down(self, wait: Callable[[float], object] = time.sleep) -> None:
        """Wait until another command stops the stand; check its file every few seconds."""
        while (self.home / FILE).exists():
            wait(LOOK_EVERY_S)

    @contextmanager
    def _lock(self, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            writable = os.access(self.home, os.W_OK)
        except OSError:
            writable = False
        if not writable:
            raise StandError(f"{self.home} is not writable: set LANES_HOME to a folder that is")
        with file_lock(self.home / "stand.lock", on_wait=on_wait):
            yield

    def _stop(
        self, names: set[str] | None, progress: StepProgress | None = None
    ) -> tuple[str, ...]:
        """Stop the running processes of `names` (None: all).

        Workers stop first, so that their flow runs can finish their calls and end while Prefect still answers. Postgres stops
        last. Standing runs that did not end by themselves are cancelled, so that they do not count as crashed.
        """
        progress = progress or Silent()
        ended: list[str] = []

        def is_selected(name: str) -> bool:
            return names is None or name in names

        running = [p for p in self.processes.list_recorded() if is_selected(p.name)]
        first = [p for p in running if p.name not in LAST]
        workers = [p for p in first if p.name.startswith(WORKER)]
        if any(p.alive for p in workers):
            grace_s = self.settings.grace_s
            progress.say(f"runs have up to {grace_s:g} s (LANES_GRACE_S) to finish their calls")
        for group in (first, [p for p in running if p.name in LAST]):
            if group:
                for process in stop_all(self.processes, group, self.settings):
                    ended.append(process.name)
                    progress.say(f"stopped {process.name}")
            if group is first and workers:
                self._cancel_standing_runs()
        if is_selected(POSTGRES):
            postgres = EmbeddedPostgres(self.home / POSTGRES)
            if postgres.running() is not None:
                postgres.stop()
                ended.append(POSTGRES)
                progress.say(f"stopped {POSTGRES}")
        if names is None or (
            load_info(self.home) is not None and not self.processes.list_recorded()
        ):
            (self.home / FILE).unlink(missing_ok=True)
        return tuple(ended)

    def _cancel_standing_runs(self) -> None:
        """Cancel the standing runs that did not end by themselves in our Prefect, so that they do not count as crashed."""
        info = load_info(self.home)
        if info is None or "prefect" not in info.embedded:
            return
        with suppress(StandError), PrefectApi.from_stand(info, timeout_s=PREFECT_S) as api:
            api.cancel_open([each.flow for each in STANDING], why="the stand was stopped")


def _complete_settings(settings: Settings, before: StandInfo | None, home: Path) -> Settings:
    """Return the settings for a stand that another run uses: this shell's, completed with those of the stand.

    Raises:
        StandError: this shell has other values than the stand, or lacks a secret that only the other run knows.
    """
    if before is None or before.settings is None:
        return settings
    found = differences(before.settings, list_variables(settings), {})
    if others := [each for each in found if each.is_conflict]:
        raise StandError(
            "another run is using this stand with other settings, and nothing was changed: "
            + "; ".join(
                f"{each.variable} is {each.stand or 'not set'} there and {each.here} here"
                for each in others
            )
            + ". Wait for that run, set the same here, or end the stand with `lanes down`"
        )
    if not found:
        return settings
    runs = runs_with(settings, home)
    if unknown := [each for each in runs.unknown if each not in SLACK]:
        raise StandError("; ".join(runs.describe_missing(each) for each in unknown))
    return less_own(runs.settings, before)


def _report_changes(
    settings: Settings, before: StandInfo | None, progress: StepProgress
) -> tuple[str, ...]:
    """Return the variables that change for a stand that is up, and report each change.

    Raises:
        StandError: this shell does not name a part of the user's own, which the stand must not replace with its own.
    """
    if before is None or before.settings is None:
        return ()
    found = differences(before.settings, list_variables(settings), {})
    if forgotten := [
        difference for difference in found if difference.here is None and difference.variable in OWN
    ]:
        theirs = " and ".join(
            f"{difference.variable} {difference.stand}" for difference in forgotten
        )
        raise StandError(
            f"the stand runs with {theirs}, and this shell sets none: set it as where `lanes up` ran, or `lanes down` first, "
            "after which the stand brings its own"
        )
    for difference in found:
        progress.say(difference.change)
    return tuple(difference.variable for difference in found)
