"""A refusal of the account is one incident of the account, and one of a model names the model; those of a lane are over."""

from alembic import op

revision = "0057"
down_revision = "0056"

puts_in_force = {}


def upgrade() -> None:
    op.execute("""
        update lanes.incident
           set state = 'resolved', resolved_at = now(), updated_at = now(),
               sentence = 'A refusal is told for the whole account from now on: what is refused still opens that incident.'
         where state = 'open' and promise = 'provider_frozen' and subject in ('realtime lane', 'batch lane')
    """)


def downgrade() -> None:
    raise RuntimeError("restore a backup, or go on: older code reads what is there")
