"""The errors of Lanes, as a tree to catch. Each text is a sentence: what happened, to what, and what to do.

LanesError
 ├── SpecInvalid          a workload's definition cannot be published
 ├── UnknownWorkload      no workload of that name has a published version
 ├── UnknownItem          the workload has no item of that key, or no job has that name
 ├── NeverAnswered        the item gets no answer unless a person does something
 │    ├── ItemFailed      its work was given up
 │    ├── ItemCanceled    its owner withdrew it
 │    └── AnswerEmptied   it was answered, so long ago that the answer is no longer kept
 ├── Refused              an input that a door did not admit
 ├── RuleFailed           a CEL rule could not be evaluated for an item
 ├── PlaybookInvalid      a playbook's file is missing or cannot be followed
 ├── ActionRefused        what an operator asked for cannot be done as things are
 ├── StillLocked          another transaction held a row for longer than we wait
 │    └── Deadlocked      this transaction and another one each waited for the other
 ├── DatabaseAway         the database did not answer, or not in time
 ├── TransactionUnfit     the caller's own transaction is none to do it in
 └── SetupError           the stand or the environment is not usable as it is
      └── StandError      a part of the stand could not do what it was asked for

Any call of `lanes.client` may raise DatabaseAway, SetupError and TransactionUnfit: they are about the database, and the
driver's own error is their cause. Which calls raise the others, each says under "Raised by"; what is raised by none of
`lanes.client` is met by commands, forms and flows, which say its text.
"""

from pathlib import Path


class LanesError(Exception):
    """Base of everything Lanes raises on purpose; its text is one sentence an operator understands.

    Raised by: only its subclasses are raised.
    What to do: catch it last, for errors that you do not handle by name, and show its text.
    """


class SpecInvalid(LanesError):
    """A workload's definition cannot be published; `problems` names each field at fault.

    Raised by: `lanes publish` and whatever else reads a definition. A block that is invalid leaves the last version in force.
    What to do: correct the fields that it names; `lanes preview FILE` tries the definition without publishing it.
    """

    def __init__(self, workload: str, problems: list[str]) -> None:
        self.workload: str = workload
        self.problems: list[str] = problems
        super().__init__(f'workload "{workload}" cannot be published: ' + "; ".join(problems))


class UnknownWorkload(LanesError):
    """No workload of that name has a published version.

    Raised by: `submit`, `amend`, `cancel`, `label`, `wait`, `results`, `Sent.raise_for_refusal`.
    What to do: correct the name, or publish the workload (`lanes publish FILE`).
    """


class UnknownItem(LanesError):
    """The workload has no item of that key, or no job has that name.

    Raised by: `cancel`, `label`, `wait`; `Job.status` and `Job.wait`.
    What to do: correct the key or name (`lanes jobs` lists the newest), or submit the item first. One sent as an event exists
    only once it is admitted, a second or two later.
    """


class NeverAnswered(LanesError):
    """The item gets no answer unless a person does something.

    Raised by: `wait`, as one of those below.
    What to do: stop waiting; `lanes explain WORKLOAD KEY` tells the item's story.
    """


class ItemFailed(NeverAnswered):
    """Its work was given up; `lanes retry` gives it another chance.

    Raised by: `wait`, at once, however much time is left.
    What to do: `lanes explain WORKLOAD KEY` says why; then `lanes retry WORKLOAD --key KEY`, and wait again.
    """


class ItemCanceled(NeverAnswered):
    """Its owner withdrew it.

    Raised by: `wait`, at once, however much time is left.
    What to do: nothing; an item that is wanted after all is submitted under another key.
    """


class AnswerEmptied(NeverAnswered):
    """The answer was deleted: `keep_payload_days` have passed since its item was received, amended and settled.

    Raised by: `wait`, `read_result`.
    What to do: submit the input under another key; keep answers elsewhere, or raise `keep_payload_days` for those to come.
    """


class Refused(LanesError):
    """An input was not admitted; `reason` is one word, the text says what to do.

    Raised by: every call that is about one item, and `results`. `submit_many` raises it for no input: it returns an outcome
    for each, and `Sent.raise_for_refusal` raises it for one of them. It raises it for a job whose name another one has, or that
    is quoted above its budget.
    What to do: correct what the text names. After `key_conflict` use another key, or `amend`; after `job_conflict` another job.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason: str = reason
        super().__init__(detail)


class RuleFailed(LanesError):
    """A CEL rule could not be evaluated for an item.

    Raised by: no call of `lanes.client`: the router goes on as if the rule had not been true, and `lanes preview` shows it.
    What to do: test what the rule relies on, as by `has(payload.amount) && payload.amount > 100`.
    """


class PlaybookInvalid(LanesError):
    """A playbook's file is missing or cannot be followed; `problems` names each line and field at fault.

    Raised by: the deployment `migrate`, before it changes anything.
    What to do: correct the lines that it names, and run it again.
    """

    def __init__(self, playbook: str, problems: list[str]) -> None:
        self.playbook: str = playbook
        self.problems: list[str] = problems
        super().__init__(f'playbook "{playbook}" cannot be followed: ' + "; ".join(problems))


class ActionRefused(LanesError):
    """The action of an operator is impossible now; the text says why, and what to do instead.

    Raised by: commands and forms that steer: `lanes promote`, `lanes adopt`, the deployment `set_split` and the like.
    What to do: what the text says; nothing was changed.
    """


class StillLocked(LanesError):
    """Another transaction held a row for longer than we wait; nothing was changed, and later it may go well.

    Raised by: `submit`, `submit_many`, `amend`, `cancel`, `label`, `read_result`, after the handle's `patience_s`.
    What to do: repeat it; where it happens often, look for a transaction that stays open (`pg_stat_activity`).
    """


class Deadlocked(StillLocked):
    """Postgres ended this call to end a deadlock: this transaction and another one each waited for rows of the other.

    Raised by: `submit`, `submit_many`, `amend`, `cancel`, `label`, `read_result`: in the caller's transaction at once,
    otherwise only after several tries.
    What to do: nothing of the call was done. Repeat it, or roll back and begin again; a transaction that makes several calls
    makes them in the order of their keys.
    """


class DatabaseAway(LanesError):
    """The database did not answer in time, and a write may have been committed; with the item's key it can be repeated.

    Raised by: every call; `results`, once it follows, waits a minute for it first.
    What to do: repeat the call, with the same key; if it lasts, `lanes doctor`.
    """


class TransactionUnfit(LanesError):
    """The caller's own transaction or connection does not allow this call; the text says why and what to do instead.

    Raised by: every call of a handle that was given a connection; `wait` and `results` that follows always do so there.
    What to do: commit or roll back, then begin another transaction; wait and follow on a handle of the database's address.
    """


class SetupError(LanesError):
    """The stand or the environment is not usable as it is; the text says what to change.

    Raised by: every call, where no database is known, the address is none, or the schema of Lanes is not there; the commands
    of the stand.
    What to do: what the text says; `lanes doctor` looks at every part.
    """


class StandError(SetupError):
    """A part of the stand could not do what was asked; `log` is the file whose end tells more.

    Raised by: the commands of the stand, and those that ask its Prefect.
    What to do: what the text says; `lanes doctor` looks at every part.
    """

    def __init__(self, sentence: str, *, log: Path | None = None) -> None:
        super().__init__(sentence)
        self.log = log

    def tail(self, lines: int = 20) -> str:
        """Return the last lines of the log, or nothing when there is none."""
        if self.log is None or not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
