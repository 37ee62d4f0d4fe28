"""The actions of a person, one file because each is a short form, which Prefect shows and the command line fills in.

`perform` does the same for both, within the caller's transaction.
"""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema
from sqlalchemy import Connection

from lanes.advice.proposals import edit_playbook
from lanes.batch.batch import BatchDecision, sentence
from lanes.errors import ActionRefused, UnknownItem, UnknownWorkload
from lanes.ids import BatchId, ProposalId
from lanes.money.budget import Budget, Period
from lanes.money.overhead import EVERY, Overhead, OverheadKind
from lanes.report.rollout import describe_state
from lanes.report.summary import lane_name, reason_name
from lanes.rollouts.playbook import LONGEST_MINUTES, load, playbook_names
from lanes.rollouts.replays import Generation
from lanes.routing.split import Split
from lanes.settling.listing import explain_archived
from lanes.settling.story import describe_shared_context, happenings, next_step
from lanes.store.advice import proposals
from lanes.store.database import OWN_PATIENCE, run_alone
from lanes.store.doors import archives, emptying, items
from lanes.store.money import budgets, overheads
from lanes.store.replays import promotions
from lanes.store.rollouts import rollout_moves, rollouts
from lanes.store.settling import decisions, story
from lanes.store.workload import workloads
from lanes.text import cell, remove_quotes
from lanes.units import count, dollars, pluralize, usd
from lanes.words import Lane, Signature
from lanes.workload.form import LARGEST, Form, Line, SignedLine, Who, Why, offer_published
from lanes.workload.version import Version

MOST_USD = 1e9
Usd = Annotated[
    Decimal,
    Field(ge=0, le=MOST_USD),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": MOST_USD}),
]
WHICH_BATCH = "provider_batch: say which batch at the provider it is, such as msgbatch_01ab"
Consumer = Annotated[Line, Field(title="Consumer")]


@dataclass(frozen=True)
class Done:
    """The result of an action: a sentence about the new state, and data for programs.

    `whole`: no part is missing. `left`: repeating the action does more. `page`: Markdown for the artifact `key`; most actions
    have no page.
    """

    message: str
    data: dict[str, Any] = field(default_factory=dict)
    page: str = ""
    key: str = ""
    whole: bool = True
    left: bool = False


def require_version(connection: Connection, workload: str) -> Version:
    """Return the version in force.

    Raises:
        UnknownWorkload: the workload has no version in force.
    """
    version = workloads.current(connection, workload)
    if version is None:
        raise UnknownWorkload(workloads.UNPUBLISHED.format(workload))
    return version


class PersonAction(Form):
    """An action on a workload, signed with the person's name and a reason."""

    workload: SignedLine = Field(title="Workload", json_schema_extra=offer_published())
    """A published workload."""
    who: Who
    why: Why

    @property
    def what(self) -> str:
        """The name of the run: the action in words, and the workload."""
        words = re.sub(r"(?<!^)(?=[A-Z])", " ", type(self).__name__.removesuffix("Action")).lower()
        return f"{words} {self.workload}"

    def perform(self, connection: Connection, now: datetime) -> Done:
        """Do it within this transaction.

        Raises:
            UnknownWorkload, UnknownItem, ActionRefused, StillLocked: the action is not possible; the message says why.
        """
        raise NotImplementedError


class ServingAction(PersonAction):
    """An action on all work of a workload, or only on its replay."""

    replay: bool = Field(default=False, title="Only its replay")
    """On: only its open replay; its items are served as before. Off: the whole workload."""


class Pause(ServingAction):
    """Stop serving a workload; its items are admitted and routed, and wait."""

    def perform(self, connection: Connection, now: datetime) -> Done:
        if self.replay:
            return Done(promotions.pause(connection, self.workload, now=now))
        return Done(rollouts.pause_workload(connection, self.workload, now=now))


class Resume(ServingAction):
    """Serve a paused workload again."""

    def perform(self, connection: Connection, now: datetime) -> Done:
        if self.replay:
            return Done(promotions.resume(connection, self.workload, now=now))
        return Done(rollouts.resume_workload(connection, self.workload))


class SetSplit(PersonAction):
    """Set the share of undecided items that goes to real time."""

    percent: float = Field(
        ge=0,
        le=100,
        title="Percent to real-time",
        description="0 to 100. It applies to items whose lane is not decided by their sender, due time, a rule or their "
        "value; the rest go to batch.",
    )
    consumer: Consumer = Field(default="")
    """Set it for only this consumer's items. Empty: for all consumers without a split of their own."""

    @property
    def what(self) -> str:
        """The name of the run, including the share."""
        return f"set split {self.workload} to {self.percent:g} %"

    def perform(self, connection: Connection, now: datetime) -> Done:
        split = Split(self.workload, self.consumer or None, round(self.percent * 100))
        message = rollouts.set_split_by_hand(connection, split, who=self.who, why=self.why, now=now)
        return Done(message)


class EndSplit(PersonAction):
    """End a consumer's own split; the consumer follows the workload's split again."""

    consumer: SignedLine = Field(title="Consumer")
    """The consumer whose own split ends."""

    def perform(self, connection: Connection, now: datetime) -> Done:
        whose, by = (self.workload, self.consumer), {"who": self.who, "why": self.why}
        return Done(rollouts.inherit_split_by_hand(connection, *whose, **by, now=now))


class BudgetAction(PersonAction):
    """A budget of a workload."""

    consumer: Consumer = Field(default="")
    """The consumer whose items it pays for. Empty: the budget of all consumers together."""
    period: Literal["day", "month"] = Field(default="day", title="Period")
    """A day or a month; each begins at midnight."""


class SetBudget(BudgetAction):
    """Set a budget of a workload. The two limits replace both limits of the budget for that period."""

    zone: Line = Field(default="", title="Time zone")
    """IANA name, for example Europe/Berlin. Empty: unchanged; UTC for a new budget."""
    hard_usd: Usd | None = Field(default=None, title="Hard limit")
    """US dollars, 0 to 1,000,000,000; never exceeded, and 0 allows no spending. Empty: none."""
    soft_usd: Usd | None = Field(default=None, title="Soft limit")
    """US dollars, 0 to 1,000,000,000; above it, items that may wait go to batch. Empty: none."""

    @property
    def what(self) -> str:
        """The name of the run, including the period."""
        return f"set budget {self.workload} by {self.period}"

    def perform(self, connection: Connection, now: datetime) -> Done:
        scope = (self.workload, self.consumer or None, Period(self.period))
        zone = self.zone or budgets.read_zone(connection, *scope)
        wanted = Budget(*scope, zone, self.soft_usd, self.hard_usd)
        return Done(budgets.put(connection, wanted, who=self.who, why=self.why, now=now))


class RemoveBudget(BudgetAction):
    """Remove a budget."""

    def perform(self, connection: Connection, now: datetime) -> Done:
        of = (self.workload, self.consumer or None, Period(self.period))
        return Done(budgets.remove(connection, *of, now=now))


class SetOverhead(PersonAction):
    """Set the monthly cost of keeping a lane, besides the provider's bill."""

    workload: SignedLine = Field(title="Workload", json_schema_extra=offer_published(EVERY))
    """A published workload, or * for all workloads without an amount of their own."""
    lane: Literal["realtime", "batch"] = Field(title="Lane")
    """The lane that the cost keeps running."""
    kind: Literal["infrastructure", "engineering"] = Field(title="Kind")
    """Infrastructure that the lane runs on, or engineering that keeps it running."""
    monthly_usd: Usd = Field(title="A month")
    """US dollars a month, 0 to 1,000,000,000; 0 ends an amount."""
    from_date: date | None = Field(default=None, title="From")
    """First day of the amount (UTC), not after today. Empty: today."""

    @property
    def what(self) -> str:
        """The name of the run, including lane and kind."""
        return f"set overhead {self.workload} {self.lane} {self.kind}"

    def perform(self, connection: Connection, now: datetime) -> Done:
        overhead = Overhead(
            None if self.workload == EVERY else self.workload,
            Lane(self.lane),
            OverheadKind(self.kind),
            self.monthly_usd,
            self.from_date or now.astimezone(UTC).date(),
        )
        message = overheads.put(connection, overhead, who=self.who, why=self.why, now=now)
        return Done(
            message, {"overhead": asdict(overhead) | {"monthly_usd": float(self.monthly_usd)}}
        )


class DecideBatch(PersonAction):
    """Decide about an open batch that does not return."""

    batch: int = Field(ge=1, le=LARGEST, title="Batch")
    """Its number, from 1, as shown by `lanes batches` and lanes.batch_status."""
    action: Literal["adopt", "resubmit", "give_up"] = Field(
        title="Action",
        description="adopt: it is the batch named below. resubmit: its items wait for the next batch and may be paid twice. "
        "give_up: its items fail.",
    )
    provider_batch: Line = Field(default="", title="Batch at the provider")
    """Its id at the provider, such as msgbatch_01ab; required to adopt."""
    sure: bool = Field(default=False, title="Sure")
    """On: do it. Off: only show the possible cost."""

    @property
    def what(self) -> str:
        """The name of the run, which begins with "what if" unless `sure` is on."""
        doubt = "" if self.sure else "what if: "
        return f"{doubt}{self.action.replace('_', ' ')} batch {self.batch} of {self.workload}"

    def perform(self, connection: Connection, now: datetime) -> Done:
        batch, scope = BatchId(self.batch), {"workload": self.workload, "now": now}
        if self.action == "adopt" and not self.provider_batch:
            raise ActionRefused(WHICH_BATCH)
        if not self.sure:
            at_stake = decisions.stakes(connection, batch, **scope)
            message = sentence(BatchDecision(self.action), at_stake)
            return Done(f"nothing was done yet: {message}. To do it, run this again and be sure")
        if self.action == "adopt":
            return Done(decisions.adopt(connection, batch, self.provider_batch, **scope))
        decide = {"resubmit": decisions.resubmit, "give_up": decisions.give_up}[self.action]
        return Done(decide(connection, batch, who=self.who, why=self.why, **scope))


class AbortRollout(PersonAction):
    """End the open rollout of a workload. The previous share is in force again."""

    def perform(self, connection: Connection, now: datetime) -> Done:
        ended = rollout_moves.abort(connection, self.workload, who=self.who, why=self.why, now=now)
        return Done(describe_state(ended))


class HoldRollout(PersonAction):
    """Hold the open rollout of a workload at its step until a person approves it."""

    def perform(self, connection: Connection, now: datetime) -> Done:
        held = rollout_moves.hold(connection, self.workload, who=self.who, why=self.why, now=now)
        return Done(describe_state(held))


class PromoteRollout(PersonAction):
    """Take the open rollout of a workload to its next step, even if gates have not passed."""

    def perform(self, connection: Connection, now: datetime) -> Done:
        signed = {"who": self.who, "why": self.why}
        return Done(
            describe_state(rollout_moves.promote(connection, self.workload, **signed, now=now))
        )


class ExtendRollout(PersonAction):
    """Give the current step of a workload's open rollout more time to gather its evidence."""

    hours: int = Field(ge=1, le=LONGEST_MINUTES // 60, title="Hours")
    """Additional hours."""

    @property
    def what(self) -> str:
        return f"{super().what} by {self.hours} h"

    def perform(self, connection: Connection, now: datetime) -> Done:
        signed = {"who": self.who, "why": self.why}
        minutes = 60 * self.hours
        extended = rollout_moves.extend(connection, self.workload, minutes, **signed, now=now)
        until = f"; it has time until {extended.step_ends_at:%Y-%m-%d %H:%M} UTC"
        return Done(f"{describe_state(extended)}{until}")


class DecideProposal(PersonAction):
    """Approve, edit or decline a rollout that the advice proposes for a consumer."""

    proposal: int = Field(ge=1, le=LARGEST, title="Proposal")
    """Its number, from 1, as shown by the artifact and `lanes proposals`."""
    action: Literal["approve", "edit", "decline"] = Field(
        title="Action",
        description="approve: its rollout starts at once. edit: it stays open, with what is changed below. decline: it is not "
        "proposed again for a month.",
    )
    playbook: Line | None = Field(
        default=None, title="Another playbook", json_schema_extra={"enum": [*playbook_names()]}
    )
    """A file of migrations/playbooks, without its extension. Empty: as proposed."""
    percents: list[Annotated[float, Field(ge=0, le=100)]] = Field(default=[], title="Percents")
    """The share to real-time at each step of the playbook, 0 to 100. Empty: unchanged."""
    hold_hours: int | None = Field(
        default=None, ge=1, le=LONGEST_MINUTES // 60, title="Longest time of a step (hours)"
    )
    """How long each step may gather its evidence. Empty: unchanged."""

    @property
    def what(self) -> str:
        return f"{self.action} proposal {self.proposal} of {self.workload}"

    def perform(self, connection: Connection, now: datetime) -> Done:
        number, by = ProposalId(self.proposal), Signature(self.who, self.why, now)
        target = connection, self.workload, number
        if self.action == "decline":
            return Done(proposals.decline(*target, by=by))
        base = load(self.playbook) if self.playbook else proposals.to_decide(*target).playbook
        playbook = edit_playbook(base, self.percents, self.hold_hours)
        if self.action == "edit":
            return Done(proposals.edit(*target, playbook, by=by))
        rollout, worth = proposals.approve(*target, playbook, by=by)
        saves = f"which saves {dollars(worth.saving_usd)} a month at the end"
        message = f"proposal {number} is approved as rollout {rollout.id}, {saves}; {describe_state(rollout)}"
        return Done(message, {"rollout": rollout.id})


class ReplayAction(PersonAction):
    """A replay of a workload."""

    generation: int | None = Field(default=None, ge=1, le=LARGEST, title="Generation")
    """Number of the replay. Empty: the newest one that the action applies to."""

    def perform(self, connection: Connection, now: datetime) -> Done:
        decide, message = REPLAY_DECISIONS[type(self)]
        replay, changed = decide(connection, self.workload, self.generation, now=now)
        message = message.format(n=pluralize(changed, "item"), name=replay.name)
        return Done(message, {**asdict(replay), "changed": changed})


class ShowReplay(ReplayAction):
    """A change of the results that readers get."""

    ask_first: bool = Field(default=True, title="Ask first")
    """Yes: show the changes on a form behind Resume, and wait for approval. No: do it at once."""


class Promote(ShowReplay):
    """Make the results of a complete replay current for readers."""


class Demote(ShowReplay):
    """Reverse a promotion; readers get the results from before it."""


class Drop(ReplayAction):
    """Drop a replay; its open work is canceled."""


REPLAY_DECISIONS: dict[type[ReplayAction], tuple[Callable[..., tuple[Generation, int]], str]] = {
    Promote: (promotions.promote, "{n} shown from {name} now"),
    Demote: (promotions.demote, "{n} restored to what was shown before {name}"),
    Drop: (promotions.drop, "{name} is dropped; open work of {n} canceled"),
}


class Retry(PersonAction):
    """Try failed items again, with a full retry budget and the version in force."""

    keys: list[SignedLine] = Field(default=[], title="Keys")
    """Keys of the items. Empty: every failed item and failed authoritative pass of the workload."""

    def perform(self, connection: Connection, now: datetime) -> Done:
        retried = decisions.retry(connection, self.workload, self.keys or None, now=now)
        not_failed = sorted(set(self.keys) - set(retried))
        lines = [f"{pluralize(len(retried), 'item')} will be tried again"]
        for key in not_failed:
            lines.append(f'"{key}" is not a failed item: see `lanes explain {self.workload} {key}`')
        data = {"retried": retried, "not_failed": not_failed}
        return Done("\n".join(lines), data, whole=not not_failed)


class ItemAction(PersonAction):
    """An item of a workload."""

    key: SignedLine = Field(title="Key")
    """The key of the item."""


class Cancel(ItemAction):
    """Withdraw an item. If a batch already holds it, the answer is billed, recorded and never shown."""

    def perform(self, connection: Connection, now: datetime) -> Done:
        outcome = run_alone(connection, OWN_PATIENCE, items.cancel, self.workload, self.key)
        match outcome:
            case "canceled":
                done = {"key": self.key, "outcome": outcome}
                return Done(f"{self.workload} / {self.key} is canceled", done)
            case "settled":
                raise ActionRefused(f"{self.workload} / {self.key} is settled; nothing was changed")
            case "archived":
                raise ActionRefused(explain_archived(self.workload, self.key))
            case _:
                raise UnknownItem(f'workload "{self.workload}" has no item "{self.key}"')


class Forget(ItemAction):
    """Withdraw an item and erase its input, revisions, answers and labels. Its key and its costs stay."""

    def perform(self, connection: Connection, now: datetime) -> Done:
        emptying.forget(connection, self.workload, self.key, now=now)
        message = f"{self.workload} / {self.key} is canceled and what it said is erased"
        return Done(message, {"key": self.key, "forgotten": True})


class Explain(ItemAction):
    """Show the history of an item, and its next step."""

    def perform(self, connection: Connection, now: datetime) -> Done:
        with archives.restore_archived(connection, self.workload, self.key) as archived_at:
            item_key = self.workload, self.key
            item_story = story.records(connection, *item_key, now=now, archived_at=archived_at)
        unquoted = [
            {**item_key, "error": remove_quotes(item_key["error"] or "")}
            for item_key in item_story.attempts
        ]
        item_story = replace(item_story, attempts=unquoted)
        table = "| When (UTC) | What | How |\n|---|---|---|"
        for happening in happenings(item_story):
            table += f"\n| {happening.at:%Y-%m-%d %H:%M:%S} | {cell(happening.what)} | {cell(happening.detail)} |"
        next_line = f"Next: {next_step(item_story, now)}"
        page = [
            f"# {cell(self.workload)} / {cell(self.key)}",
            f"**{item_story.item['state']}, {usd(item_story.item['cost_usd'])}.** {cell(next_line)}",
            table,
            *(cell(happening) for happening in describe_shared_context(item_story)),
        ]
        return Done(next_line, page="\n\n".join(page), key=f"lanes-explain-{self.workload}")


class PreviewAction(ItemAction):
    """Show an item's request and cost on each lane if it arrived now. Nothing is sent."""

    def perform(self, connection: Connection, now: datetime) -> Done:
        from lanes.commands.preview import conditions, preview_submission

        version = require_version(connection, self.workload)
        sent = items.submission(connection, self.workload, self.key)
        item_preview, _ = preview_submission(
            connection, version, conditions(connection, now), sent, now
        )
        route, why = item_preview.route, cell(item_preview.route.explanation)
        message = f"It would go to {lane_name(route.lane)} ({reason_name(route.reason)})"
        table = "| Lane | Model | Input tokens | Output tokens | Price |\n|---|---|--:|--:|--:|"
        for lane_request in item_preview.lanes:
            tokens = f"{count(lane_request.input_tokens)} | {count(lane_request.output_tokens)}"
            lane = f"{lane_name(lane_request.lane)} | {cell(lane_request.model)}"
            table += f"\n| {lane} | {tokens} | {usd(lane_request.usd)} |"
        page = [
            f"# {cell(self.workload)} / {cell(self.key)}",
            f"**{message}**: {why}. All figures are estimates; nothing was sent.",
            table,
            *(f"Note: {cell(lane_request)}" for lane_request in item_preview.notes),
        ]
        return Done(message, page="\n\n".join(page), key=f"lanes-preview-{self.workload}")
