--- How an item stands, as far as its own row says
create or replace function lanes.figure_stands(answered_at timestamptz, settled_at timestamptz, failed_at timestamptz,
                                               canceled_at timestamptz)
returns text
language sql immutable
begin atomic
  select case when canceled_at is not null then 'canceled' when settled_at is not null then 'settled'
              when failed_at is not null then 'failed' when answered_at is not null then 'answered' else 'open' end;
end;
