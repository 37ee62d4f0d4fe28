create or replace trigger bound_refusal before insert on lanes.rejected for each row execute function lanes.bound_refusal();
