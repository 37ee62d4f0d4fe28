create or replace trigger budget_used after insert on lanes.response referencing new table as added for each statement execute function lanes.use_of_responses();
