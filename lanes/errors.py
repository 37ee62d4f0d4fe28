"""The errors of Lanes as an exception tree. Each message is one sentence: what failed, for which thing, and what to do.

LanesError
 ├── SpecInvalid          a workload's definition cannot be published
 ├── UnknownWorkload      no workload with that name has a published version
 ├── UnknownItem          the workload has no item with that key, or no job has that name
 ├── NeverAnswered        the item gets no answer unless a person intervenes
 │    ├── ItemFailed      all work of the item has failed
 │    ├── ItemCanceled    the item's owner withdrew it
 │    └── AnswerEmptied   the item's answer was deleted after its retention period
 ├── Refused              a door did not admit an input
 ├── RuleFailed           a CEL rule could not be evaluated for an item
 ├── PlaybookInvalid      a playbook's file is missing or invalid
 ├── ActionRefused        an operator's action is not possible in the current state
 ├── StillLocked          another transaction held a row lock for longer than we wait
 │    └── Deadlocked      this transaction and another one waited for each other
 ├── DatabaseAway         the database did not answer, or not in time
 ├── TransactionUnfit     the caller's own transaction or connection does not allow the call
 └── SetupError           the stand or the environment is not usable
      └── StandError      a part of the stand failed to do its task

Any call of `lanes.client` may raise DatabaseAway, SetupError and TransactionUnfit: they concern the database, and the
driver's own error is their cause. "Raised by" in each docstring lists the calls that raise it. Errors that no call of
`lanes.client` raises occur in commands, forms and flows, which show their message.
"""

from pathlib import Path


class LanesError(Exception):
    """Base class of all errors that Lanes raises on purpose; the message is one sentence that an operator understands.

    Raised by: nothing directly; only its subclasses are raised.
    What to do: catch it last, for errors that you do not handle by name, and show its message.
    """


class SpecInvalid(LanesError):
    """A workload's definition cannot be published; `problems` names each invalid field.

    Raised by: `lanes publish` and all other code that reads a definition. If a block is invalid, the last version stays in
    force.
    What to do: correct the fields that it names; `lanes preview FILE` tries the definition without publishing it.
    """

    def __init__(self, workload: str, problems: list[str]) -> None:
        self.workload: str = workload
        self.problems: list[str] = problems
        super().__init__(f'workload "{workload}" cannot be published: ' + "; ".join(problems))


class UnknownWorkload(LanesError):
    """No workload with that name has a published version.

    Raised by: `submit`, `amend`, `cancel`, `label`, `wait`, `results`, `Sent.raise_for_refusal`.
    What to do: correct the name, or publish the workload (`lanes publish FILE`).
    """


class UnknownItem(LanesError):
    """The workload has no item with that key, or no job has that name.

    Raised by: `cancel`, `label`, `wait`; `Job.status` and `Job.wait`.
    What to do: correct the key or name (`lanes jobs` lists the newest), or submit the item first. An item sent as an event does
    not exist until it is admitted, a second or two later.
    """


class NeverAnswered(LanesError):
    """The item gets no answer unless a person intervenes.

    Raised by: `wait`, as one of its subclasses.
    What to do: stop waiting; `lanes explain WORKLOAD KEY` shows the item's history.
    """


class ItemFailed(NeverAnswered):
    """All work of the item has failed; `lanes retry` gives it another chance.

    Raised by: `wait`, at once, even if time is left.
    What to do: `lanes explain WORKLOAD KEY` shows why; run `lanes retry WORKLOAD --key KEY`, then wait again.
    """


class ItemCanceled(NeverAnswered):
    """The item's owner withdrew it.

    Raised by: `wait`, at once, even if time is left.
    What to do: nothing; to get an answer after all, submit the input under another key.
    """


class AnswerEmptied(NeverAnswered):
    """The answer was deleted: `keep_payload_days` have passed since the item was received, amended and settled.

    Raised by: `wait`, `read_result`.
    What to do: submit the input under another key. Store answers elsewhere, or raise `keep_payload_days` for future items.
    """


class Refused(LanesError):
    """A door did not admit an input; `reason` is one word, and the message says what to do.

    Raised by: every call about a single item, and `results`. `submit_many` does not raise it for an input: it returns an
    outcome for each, and `Sent.raise_for_refusal` raises it for one outcome. `submit_many` does raise it for a job whose name
    belongs to another job, or that is quoted above its budget.
    What to do: correct what the message names. After `key_conflict` use another key, or `amend`; after `job_conflict` use
    another job name.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason: str = reason
        super().__init__(detail)


class RuleFailed(LanesError):
    """A CEL rule could not be evaluated for an item.

    Raised by: no call of `lanes.client`: the router treats the rule as false, and `lanes preview` shows the error.
    What to do: guard the rule against missing fields, for example `has(payload.amount) && payload.amount > 100`.
    """


class PlaybookInvalid(LanesError):
    """A playbook's file is missing or invalid; `problems` names each invalid line and field.

    Raised by: the deployment `migrate`, before it changes anything.
    What to do: correct the lines that it names, and run it again.
    """

    def __init__(self, playbook: str, problems: list[str]) -> None:
        self.playbook: str = playbook
        self.problems: list[str] = problems
        super().__init__(f'playbook "{playbook}" cannot be followed: ' + "; ".join(problems))


class ActionRefused(LanesError):
    """An operator's action is not possible in the current state; the message says why, and what to do instead.

    Raised by: commands and forms that steer: `lanes promote`, `lanes adopt`, the deployment `set_split` and similar ones.
    What to do: follow the message; nothing was changed.
    """


class StillLocked(LanesError):
    """Another transaction held a row lock for longer than we wait; nothing was changed, and a later call may succeed.

    Raised by: `submit`, `submit_many`, `amend`, `cancel`, `label`, `read_result`, after the handle's `patience_s`.
    What to do: repeat the call; if this happens often, look for a transaction that stays open (`pg_stat_activity`).
    """


class Deadlocked(StillLocked):
    """Postgres aborted this call to resolve a deadlock: this transaction and another one waited for each other's rows.

    Raised by: `submit`, `submit_many`, `amend`, `cancel`, `label`, `read_result`: in the caller's transaction at once,
    otherwise only after several tries.
    What to do: the call changed nothing. Repeat it, or roll back and begin again; a transaction with several calls must make
    them in the order of their keys.
    """


class DatabaseAway(LanesError):
    """The database did not answer in time; a write may have been committed, and repeating it with the item's key is safe.

    Raised by: every call; `results`, while it follows, first waits a minute for the database.
    What to do: repeat the call with the same key; if the outage lasts, run `lanes doctor`.
    """


class TransactionUnfit(LanesError):
    """The caller's own transaction or connection does not allow this call; the message says why and what to do instead.

    Raised by: every call of a handle that was given a connection; there, `wait` and following `results` always raise it.
    What to do: commit or roll back, then begin another transaction; wait and follow on a handle for the database's address.
    """


class SetupError(LanesError):
    """The stand or the environment is not usable; the message says what to change.

    Raised by: every call, if no database is configured, the address is invalid, or the schema of Lanes is missing; the commands
    of the stand.
    What to do: follow the message; `lanes doctor` checks every part.
    """


class StandError(SetupError):
    """A part of the stand failed to do its task; `log` is the file whose last lines give details.

    Raised by: the commands of the stand, and those that call its Prefect server.
    What to do: follow the message; `lanes doctor` checks every part.
    """

    def __init__(self, sentence: str, *, log: Path | None = None) -> None:
        super().__init__(sentence)
        self.log = log

    def tail(self, lines: int = 20) -> str:
        """Return the last lines of the log, or an empty text if there is none."""
        if self.log is None or not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
