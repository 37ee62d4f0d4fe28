"""The functions and views of schema `lanes`, as migrations/schema/current/ defines them, and the rights on them.

Neither alembic-utils nor alembic-pg-autogen fits: both copy each definition into the migration, where a review sees no
difference, and neither knows comments, types or grants.
"""
