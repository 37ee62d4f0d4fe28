create or replace trigger of_workload before insert on lanes.label for each row execute function lanes.set_workload();
