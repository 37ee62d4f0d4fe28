"""The tables of schema `lanes`, one file per aggregate. The comments of tables and columns are also in the database."""

# ruff: noqa: F401, F403

from lanes.store.tables.base import SCHEMA, metadata
from lanes.store.tables.figures import *
from lanes.store.tables.items import *
from lanes.store.tables.ledger import *
from lanes.store.tables.outgoing import *
from lanes.store.tables.rollouts import *
from lanes.store.tables.work import *
from lanes.store.tables.workloads import *
