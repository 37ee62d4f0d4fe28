"""The ids of database rows: integers, each with its own type, so that the type checker tells them apart."""

from typing import NewType

VersionId = NewType("VersionId", int)
ItemId = NewType("ItemId", int)
RouteId = NewType("RouteId", int)
WorkId = NewType("WorkId", int)
BatchId = NewType("BatchId", int)
ResultId = NewType("ResultId", int)
GenerationId = NewType("GenerationId", int)
RolloutId = NewType("RolloutId", int)
ProposalId = NewType("ProposalId", int)
IncidentId = NewType("IncidentId", int)
BudgetId = NewType("BudgetId", int)
GoldenId = NewType("GoldenId", int)
JobId = NewType("JobId", int)
ArchiveId = NewType("ArchiveId", int)
