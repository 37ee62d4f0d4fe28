"""What an operator reads in the list of runs."""

from flows.submit import Departure


def test_a_submit_run_is_named_after_what_it_submits() -> None:
    assert "batch submit {departure.what}".format(departure=Departure(workload="tickets")) == "batch submit tickets"
    assert f"batch submit {Departure().what}" == "batch submit everything"
