"""The public client, for programs that send items and read results from a process of their own.

    from lanes.client import Lanes

    with Lanes() as lanes:
        lanes.submit("tickets", {"text": "..."}, key="t-1", urgent=True)
        lanes.wait("tickets", "t-1", reader="support-desk", timeout_s=10)

`AsyncLanes` is the same for asynchronous programs. The functions are shorthands for one handle per address; the address comes
from `LANES_DATABASE_URL`, or else from the stand of this checkout (`lanes up`). The asynchronous ones have the prefix `a`.

    from lanes import client
    client.submit("tickets", {"text": "..."}, key="t-1", urgent=True)

A program can follow the answers of a workload as they arrive, are corrected or settle, until it leaves the loop:

    async for item in client.aresults("tickets", follow=True, reader="dashboard"):
        print(item.key, item.state, item.output)

A call about one item raises its refusal (`Refused`, `UnknownWorkload`); `submit_many` returns an outcome for each input.

`lanes.errors` lists all errors as a tree. The names of this module and of `lanes.errors` are public: they are fully typed
(`py.typed`) and stay stable. All others may change with any release.
"""

from lanes.client.ahandle import AsyncLanes
from lanes.client.following import AsyncJob, Job
from lanes.client.handle import Lanes
from lanes.client.shorthands import (
    aamend,
    acancel,
    acorrections,
    ajob,
    alabel,
    amend,
    aread_result,
    aresults,
    asubmit,
    asubmit_many,
    await_result,
    cancel,
    corrections,
    job,
    label,
    read_result,
    results,
    submit,
    submit_many,
    wait,
)
from lanes.client.verbs import Fields, Sent
from lanes.settling.listing import JobStatus, Listed
from lanes.store.settling.results import CorrectedRead, Result

__all__ = [
    "AsyncJob",
    "AsyncLanes",
    "CorrectedRead",
    "Fields",
    "Job",
    "JobStatus",
    "Lanes",
    "Listed",
    "Result",
    "Sent",
    "aamend",
    "acancel",
    "acorrections",
    "ajob",
    "alabel",
    "amend",
    "aread_result",
    "aresults",
    "asubmit",
    "asubmit_many",
    "await_result",
    "cancel",
    "corrections",
    "job",
    "label",
    "read_result",
    "results",
    "submit",
    "submit_many",
    "wait",
]
