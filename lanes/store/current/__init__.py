"""The functions and views of schema `lanes`, as migrations/schema/current/ defines them, and the rights on them.

Neither alembic-utils nor alembic-pg-autogen fits: both copy each definition into the migration, where a review cannot see the
difference, and neither supports comments, types or grants.
"""
