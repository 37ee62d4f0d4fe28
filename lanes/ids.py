"""The ids of rows in the database: numbers, with a type each, so that none passes for another."""

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
