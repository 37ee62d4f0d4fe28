"""What can go wrong, as a tree a caller can catch.

LanesError
 ├── SpecInvalid          a workload's definition cannot be published
 ├── UnknownWorkload      no workload of that name has a published version
 ├── UnknownItem          the workload has no item of that key
 ├── NeverAnswered        nobody needs to wait for the item any longer
 │    ├── ItemFailed      its work was given up
 │    ├── ItemCanceled    its owner withdrew it
 │    └── AnswerEmptied   it was answered, so long ago that the answer is no longer kept
 ├── Refused              an input that a door did not admit
 ├── RuleFailed           a CEL rule could not be evaluated for an item
 ├── PlaybookInvalid      a playbook's file is missing or cannot be followed
 ├── ActionRefused        what an operator asked for cannot be done as things are
 ├── StillLocked          another transaction held a row for longer than we wait
 ├── DatabaseAway         the database did not answer, or not in time
 ├── TransactionUnfit     the caller's own transaction is none to do it in
 └── SetupError           the stand or the environment is not usable as it is
"""


class LanesError(Exception):
    """Base of everything Lanes raises on purpose; its text is one sentence an operator understands."""


class SpecInvalid(LanesError):
    """A workload's definition cannot be published; `problems` names each field at fault."""

    def __init__(self, workload: str, problems: list[str]) -> None:
        self.workload = workload
        self.problems = problems
        super().__init__(f'workload "{workload}" cannot be published: ' + "; ".join(problems))


class UnknownWorkload(LanesError):
    """No workload of that name has a published version."""


class UnknownItem(LanesError):
    """The workload has no item of that key."""


class NeverAnswered(LanesError):
    """Nobody needs to wait for the item any longer: it gets no answer unless a person does something."""


class ItemFailed(NeverAnswered):
    """Its work was given up; `lanes retry` gives it another chance."""


class ItemCanceled(NeverAnswered):
    """Its owner withdrew it."""


class AnswerEmptied(NeverAnswered):
    """It was answered longer ago than its workload keeps what items say (`keep_payload_days`)."""


class Refused(LanesError):
    """An input was not admitted; `reason` is one word, the text says what to do."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


class RuleFailed(LanesError):
    """A CEL rule could not be evaluated for an item."""


class PlaybookInvalid(LanesError):
    """A playbook's file is missing or cannot be followed; `problems` names each line and field at fault."""

    def __init__(self, playbook: str, problems: list[str]) -> None:
        self.playbook = playbook
        self.problems = problems
        super().__init__(f'playbook "{playbook}" cannot be followed: ' + "; ".join(problems))


class ActionRefused(LanesError):
    """What an operator asked for cannot be done as things are; the text says why and what to do instead."""


class StillLocked(LanesError):
    """Another transaction held a row for longer than we wait; nothing was changed, and later it may go well."""


class DatabaseAway(LanesError):
    """The database did not answer, or not in time. Whether a write was committed may be unknown: with the item's key it can be
    repeated."""


class TransactionUnfit(LanesError):
    """The caller's own transaction, or connection, is none to do it in; the text says why and what to do instead."""


class SetupError(LanesError):
    """The stand or the environment is not usable as it is; the text says what to change."""
