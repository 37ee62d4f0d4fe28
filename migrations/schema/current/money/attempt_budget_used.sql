create or replace trigger budget_used after insert on lanes.attempt referencing new table as added for each statement execute function lanes.use_of_attempts();
