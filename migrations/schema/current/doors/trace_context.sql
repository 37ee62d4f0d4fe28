-- A traceparent is a hint: what is none is ignored, and its item is kept. Nothing follows the flags of version 00.
--- The trace id, span id and flags of a W3C traceparent, 25 bytes; null where it is none
create or replace function lanes.trace_context(traceparent text)
returns bytea
language sql immutable
begin atomic
  select case
    when traceparent ~ '^(?!ff|00.{53}.)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}($|-)'
      then decode(substr(traceparent, 4, 32) || substr(traceparent, 37, 16) || substr(traceparent, 54, 2), 'hex')
  end;
end;
