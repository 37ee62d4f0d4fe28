"""What the provider's limits leave, as its answers told it last."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, Named, Table, Text, TypedColumns

from lanes.routing.capacity import Kind
from lanes.store.tables.base import Moment, Word, metadata, one_of


class CapacityColumns(TypedColumns):
    account: Named[str] = Column(
        Text, primary_key=True, comment="The provider account whose limit it is"
    )
    model: Named[str] = Column(Text, primary_key=True, comment="As it was asked for")
    kind: Named[Kind] = Column(
        Word(Kind),
        primary_key=True,
        comment="requests, input_tokens (without cached ones), output_tokens, or tokens: both",
    )
    limit_: Named[int] = Column(BigInteger, comment="A minute")
    remaining: Named[int] = Column(BigInteger, comment="Of it, at seen_at")
    reset_at: Named[datetime] = Column(
        Moment, comment="When all of it is there again, if nobody takes any"
    )
    seen_at: Named[datetime] = Column(Moment, comment="When an answer told so; the newest wins")


capacity = Table(
    "capacity",
    metadata,
    CapacityColumns,
    one_of("kind", Kind),
    prefixes=["UNLOGGED"],
    postgresql_with={"fillfactor": 50},
    comment="The provider's limits a minute and what they left, as one drain saw it last: all share it; lost in a crash",
)
