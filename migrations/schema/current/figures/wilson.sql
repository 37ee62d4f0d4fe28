--- Lower (side -1) or upper (side 1) end of the 95 % Wilson interval of a share of n
create or replace function lanes.wilson(share double precision, n bigint, side int)
returns double precision
language sql immutable
begin atomic
  select greatest(0, least(1, (share + 1.9208 / n + side * 1.96 * sqrt((share * (1 - share) + 0.9604 / n) / n)) / (1 + 3.8416 / n)));
end;
