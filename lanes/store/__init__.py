"""Tables and named queries, one file per aggregate. Each query takes its connection and the time as arguments."""
