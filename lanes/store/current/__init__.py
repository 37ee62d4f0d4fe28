"""The functions and views of schema `lanes` as migrations/schema/current/ holds them, and how a database comes to have them.

Neither alembic-utils nor alembic-pg-autogen does this: both write each definition, the old and the new one, into the migration,
where a review sees no difference, and neither knows comments, types or grants.
"""
