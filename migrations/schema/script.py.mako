"""${message}."""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
<%
    from alembic.script import ScriptDirectory
    from lanes.store.current.autogenerate import unannounced
    from lanes.store.current.files import pieces
    lacking = unannounced(ScriptDirectory.from_config(config), pieces())
%>
% if lacking:
# Files of migrations/schema/current/ that change with it; None: gone, and dropped below.
puts_in_force = ${repr(lacking)}

% endif

def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
