"""${message}."""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
<%
    from lanes.store.current.files import fingerprint, sql_files
%>
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
sql_in_force = ${repr(fingerprint(sql_files()))}  # migrations/schema/current/ after this revision


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
