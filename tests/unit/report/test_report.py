"""The report of any snapshot, in the terminal and as artifacts: one file because both faces are read of the same one."""

import base64
import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from lanes.ids import BatchId
from lanes.report import page, summary, terminal
from lanes.report.charts import Bar, Group, Series, bars, data_uri, fit, lines, text_width
from lanes.report.figures import (
    AccuracyFigures,
    AgreementFigures,
    BatchFigures,
    CostFigures,
    Failure,
    LaneFigures,
    MinuteFigures,
    QualityFigures,
    RefusalFigures,
    RouteFigures,
    SecondPassFigures,
    StateFigures,
)
from lanes.report.snapshot import Snapshot
from lanes.statistics.shares import SampleShare
from lanes.text import cell, code, plain
from lanes.units import align_usd, clock, pluralize, seconds, share, usd
from lanes.words import BatchState, Lane, Reason
from tests.unit.report.test_report_sections import steered
from tests.unit.settling.test_examples import PLAIN as EXAMPLE

NOW = datetime(2026, 12, 3, 15, 5, tzinfo=UTC)
HOSTILE = "a|b\nc <img src=x onerror=alert(1)> [go](http://evil.example) `tick` **bold** \\| \x1b[31m\u202eend"


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def a_batch(number: int = 41, **changes) -> BatchFigures:
    batch = BatchFigures(
        batch_id=BatchId(number),
        workload="tickets",
        model="claude-haiku-5-5",
        state=BatchState.COLLECTED,
        requests=21,
        processed=21,
        items=107,
        succeeded=104,
        invalid=2,
        errored=0,
        canceled=0,
        expired=0,
        missing=1,
        intended_at=ago(55),
        submitted_at=ago(55),
        expected_end_at=ago(40),
        ended_at=ago(54.5),
        collected_at=ago(54.4),
        note=None,
        items_per_minute_until_ended=214.0,
        items_per_minute_until_collected=178.3,
    )
    return replace(batch, **changes)


def nothing() -> Snapshot:
    return Snapshot(taken_at=NOW, since=ago(60))


def one_lane() -> Snapshot:
    return replace(
        nothing(),
        lanes=[
            LaneFigures(
                "tickets", Lane.REALTIME, 1, 1, 1, 0.4, 0.4, 0.4, 0.4, 1, 0, Decimal("0.00012")
            )
        ],
        costs=[
            CostFigures(
                "tickets", Decimal("0.00012"), Decimal("0.00012"), Decimal("0.00006"), Decimal(0)
            )
        ],
        states=[StateFigures("tickets", "settled", 1)],
        routes=[RouteFigures("tickets", Lane.REALTIME, Reason.URGENT, 1)],
        minutes=[MinuteFigures(Lane.REALTIME, ago(3), 1, 0.4)],
    )


def two_workloads() -> Snapshot:
    return replace(
        nothing(),
        lanes=[
            LaneFigures(
                "archive", Lane.BATCH, 60, 60, 60, 25.0, 31.2, 33.0, 90.0, 60, 0, Decimal("0.00212")
            ),
            LaneFigures(
                "tickets",
                Lane.REALTIME,
                106,
                105,
                105,
                0.4,
                2.1,
                3.0,
                180.0,
                112,
                7,
                Decimal("0.01912"),
            ),
            LaneFigures(
                "tickets",
                Lane.BATCH,
                107,
                105,
                210,
                25.1,
                38.0,
                41.2,
                25.0,
                213,
                3,
                Decimal("0.00934"),
            ),
        ],
        costs=[
            CostFigures(
                "archive", Decimal("0.00212"), Decimal("0.00636"), Decimal("0.00318"), Decimal(0)
            ),
            CostFigures(
                "tickets",
                Decimal("0.02846"),
                Decimal("0.03843"),
                Decimal("0.01861"),
                Decimal("0.00041"),
            ),
        ],
        states=[
            StateFigures("archive", "settled", 60),
            StateFigures("tickets", "failed", 3),
            StateFigures("tickets", "settled", 210),
        ],
        routes=[
            RouteFigures("archive", Lane.BATCH, Reason.BATCH_RULE, 60),
            RouteFigures("tickets", Lane.BATCH, Reason.SPLIT, 107),
            *(
                RouteFigures("tickets", Lane.REALTIME, reason, 1)
                for reason in Reason
                if reason != Reason.SPLIT
            ),
            RouteFigures("tickets", Lane.REALTIME, Reason.SPLIT, 100),
        ],
        batches=[a_batch()],
        agreement=[AgreementFigures("tickets", 106, 9)],
        accuracy=[AccuracyFigures("tickets", Lane.REALTIME, 1, "category", 106, 0.868, 0.79, 0.92)],
        quality=[
            QualityFigures(
                "tickets",
                Lane.REALTIME,
                1,
                "field category",
                [('"complaint"', 0.12, 0.31), ('"question"', 0.5, 0.4)],
                "drifts",
            )
        ],
        second_passes=[
            SecondPassFigures(
                "tickets",
                "other",
                True,
                NOW,
                4_000,
                3_000,
                Decimal("0.7"),
                SampleShare(98, 100),
                80,
            )
        ],
        failures=[Failure("tickets", "T-104", "no answer after 4 attempts: 529 overloaded")],
        refusals=[RefusalFigures("tickets", "key_conflict", 2)],
        minutes=[MinuteFigures(Lane.REALTIME, ago(m), 3, 1 + m % 3) for m in range(59, 0, -1)]
        + [MinuteFigures(Lane.BATCH, ago(m), 20, 30.0) for m in (55, 54, 20)],
    )


def far_too_much() -> Snapshot:
    names = [f"workload-{n}-{HOSTILE}" for n in range(60)]
    beside = steered(HOSTILE * 20)
    return replace(
        beside,
        incidents=beside.incidents * 30,
        rollouts=beside.rollouts * 60,
        splits=beside.splits * 60,
        replays=beside.replays * 60,
        calls=beside.calls * 60,
        amendments=beside.amendments * 60,
        advice=beside.advice * 60,
        lanes=[
            LaneFigures(n, lane, 10**6, 10**6, 10**6, 1.0, 2e5, 4e5, 1e5, 10**6, 9, Decimal(9999))
            for n in names
            for lane in Lane
        ],
        costs=[
            CostFigures(n, Decimal(9999), Decimal(20000), Decimal(5000), Decimal(1)) for n in names
        ],
        states=[StateFigures(n, "settled", 10**6) for n in names],
        routes=[
            RouteFigures(n, lane, reason, 10**6)
            for n in names
            for lane in Lane
            for reason in Reason
        ],
        batches=[a_batch(n, state="held", note=HOSTILE * 20) for n in range(12)],
        agreement=[AgreementFigures(n, 10, 3) for n in names],
        accuracy=[AccuracyFigures(n, Lane.BATCH, 3, HOSTILE, 10, 0.5, 0.2, 0.8) for n in names],
        quality=[
            QualityFigures(n, Lane.BATCH, 3, HOSTILE, [(HOSTILE, 0.5, 0.2)], "steady")
            for n in names
        ],
        failures=[Failure(names[0], f"{n}{HOSTILE}", "<" * 5000) for n in range(200)],
        refusals=[RefusalFigures(n, HOSTILE, 3) for n in names],
        minutes=[
            MinuteFigures(lane, ago(m), 3, 1.0 + m) for lane in Lane for m in range(1440, 0, -1)
        ],
    )


SNAPSHOTS = [nothing, one_lane, two_workloads, steered, far_too_much]


def written(snapshot: Snapshot, *, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(terminal.main_page(snapshot))
    console.print(terminal.details_page(snapshot))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def written_samples() -> str:
    console = Console(width=100, file=io.StringIO())
    console.print(terminal.main_page(two_workloads(), [EXAMPLE]))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def charts_in(artifact: str) -> list[ET.Element]:
    found = re.findall(r"\(data:image/svg\+xml;base64,([^)]*)\)", artifact)
    return [ET.fromstring(base64.b64decode(each, validate=True)) for each in found]


def both(snapshot: Snapshot) -> str:
    """Return both pages, one after the other."""
    return page.main_page(snapshot) + page.details_page(snapshot)


def html_of(artifact: str) -> str:
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    reader.validateLink = lambda url: True
    return reader.render(artifact)


def texts_of(chart: ET.Element) -> list[ET.Element]:
    return [each for each in chart.iter() if each.tag.endswith("text")]


@pytest.mark.parametrize("snapshot", SNAPSHOTS)
def test_the_terminal_report_fits_100_columns_without_control_characters(snapshot):
    text = written(snapshot())
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "Everything else: lanes report --all" in text


def test_the_terminal_report_shows_each_lane_on_one_line_with_its_figures():
    text = written(two_workloads())
    line = next(line for line in text.splitlines() if line.startswith("tickets / real-time"))
    assert (
        " ".join(line.split())
        == "tickets / real-time 105 of 106 0.40 s / 2.1 s / 3.0 s 35 7 (6.2 %) $0.01912 $0.1821"
    )
    for said in (
        "32 % saved",
        "26 % saved",
        "up to $0.000410",
        "batch rule",
        "92 %",
        "529 overloaded",
        "key_conflict",
    ):
        assert said in text


def test_a_lane_never_answers_more_items_than_it_has_and_its_throughput_counts_all_answers():
    lines_ = [" ".join(line.split()) for line in written(two_workloads()).splitlines()]
    assert any(line.startswith("tickets / batch 105 of 107 ") for line in lines_)
    assert "tickets / batch 210 25 s 210" in lines_
    assert "tickets / real-time 105 3.0 min 35" in lines_
    assert "| tickets / batch | 210 | 25\u00a0s | 210 |" in page.details_page(two_workloads())


def test_the_rate_of_a_short_burst_never_exceeds_its_number_of_answers():
    batch = two_workloads().lanes[2]
    assert batch.busy_s < 60
    assert batch.per_minute == batch.answers


def test_the_cost_of_shadows_and_replays_is_reported_apart_from_the_saving():
    costs = [replace(each, aside_usd=Decimal("0.5")) for each in two_workloads().costs]
    replayed = replace(two_workloads(), costs=costs)
    assert str(summary.measure_total_saving(replayed)) == str(
        summary.measure_total_saving(two_workloads())
    )
    for report in (" ".join(written(replayed).split()), page.main_page(replayed)):
        assert "Shadows and replays of these items cost $1.00 more" in report
    assert "Shadows and replays" not in written(two_workloads())


def test_both_pages_state_the_period_of_their_figures():
    said = "since 14:05 UTC (60 min)"
    assert summary.headline(two_workloads()).endswith(said)
    for shown in (
        page.main_page(two_workloads()),
        page.details_page(two_workloads()),
        written(two_workloads()),
    ):
        assert said in shown


def test_a_line_chart_states_the_time_of_its_newest_point():
    minutes = Series("real-time, p95 of each minute", [(ago(50), 1.0), (ago(49), 2.0)], "#000000")
    chart = lines([minutes], step=timedelta(minutes=1))
    assert "2.0 s at 14:16 UTC, the last one; highest 2.0 s" in chart


def test_the_terminal_report_fits_80_columns():
    assert max(len(line) for line in written(two_workloads(), width=80).splitlines()) <= 80


def test_a_cut_text_ends_with_dots_even_if_it_is_mostly_spaces():
    assert plain("a" + " " * 100 + "b", most=10) == "a..."
    assert plain("a" + " " * 20 + "b", most=10) == "a b"


@pytest.mark.slow
@pytest.mark.parametrize("snapshot", SNAPSHOTS)
def test_the_artifacts_stay_below_50_kb(snapshot):
    for shown in (page.main_page(snapshot()), page.details_page(snapshot())):
        assert len(shown.encode()) < 50_000


@pytest.mark.slow
def test_an_oversized_report_is_cut_and_not_left_out():
    for shown in (page.main_page(far_too_much()), page.details_page(far_too_much())):
        assert len(shown) > len(page.TOO_LONG)
        assert "more are not shown." in shown


def test_the_first_page_shows_a_limited_number_of_lanes():
    crowded = replace(far_too_much(), lanes=two_workloads().lanes * 20)
    rows = [
        line
        for line in page.main_page(crowded).splitlines()
        if re.match(r"\| (tickets|archive) /", line)
    ]
    assert len(rows) == page.MOST_ROWS


def test_the_second_page_shows_50_of_200_failures_and_states_how_many_are_missing():
    failures = [
        Failure("tickets", f"T-{n}", "no answer after 4 attempts: 529 overloaded")
        for n in range(200)
    ]
    batches = [a_batch(n) for n in range(12)]
    shown = page.details_page(replace(two_workloads(), failures=failures, batches=batches))
    assert len(shown.encode()) < 50_000
    assert "| T-49 |" in shown
    assert "| T-50 |" not in shown
    assert "150 more are not shown." in shown
    assert shown.count("| tickets | collected |") == 12


def test_the_first_page_has_its_sections_in_this_order():
    headings = re.findall(r"^### (.*)$", page.main_page(two_workloads(), [EXAMPLE]), re.MULTILINE)
    assert headings == [
        "What needs a person",
        "Lanes",
        "Cost against the alternatives",
        "Corrections",
        "Accuracy against labels",
        "Sample answers",
    ]
    links, *_ = [line for line in page.main_page(two_workloads()).splitlines() if "](" in line]
    assert links.startswith("[Everything else](/v2/artifacts/key/lanes-report-details) · ")


def test_the_first_page_says_when_nothing_needs_a_person():
    assert page.NOTHING_OPEN in page.main_page(one_lane())
    assert "3 items failed: " in page.main_page(two_workloads())


def test_a_sample_in_an_artifact_shows_its_answer_but_not_its_payload():
    shown = page.main_page(two_workloads(), [EXAMPLE])
    assert "category: delivery" in shown
    assert "Where is my parcel?" not in shown
    assert "Where is my parcel?" in written_samples()


@pytest.mark.parametrize("snapshot", SNAPSHOTS)
def test_every_row_of_an_artifact_table_has_one_cell_per_head_and_at_most_seven(snapshot):
    html = html_of(both(snapshot()))
    for table in re.findall(r"<table>.*?</table>", html, re.DOTALL):
        heads, *rows = [
            row.count("</t") - 1 for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)
        ]
        assert heads <= 7
        assert set(rows) <= {heads}


def test_the_artifact_links_to_the_pages_of_the_v2_interface():
    html = html_of(both(two_workloads()))
    for address in (
        "/v2/runs?tags=batch",
        "/v2/runs?tags=realtime",
        "/v2/events?events=[%22lanes.item.failed%22]",
        "/v2/artifacts/key/lanes-report",
    ):
        assert f'href="{address}"' in html.replace("&quot;", "%22").replace("%5B", "[").replace(
            "%5D", "]"
        )


def test_hostile_text_never_becomes_markup_in_the_artifacts():
    named = replace(
        two_workloads(),
        failures=[Failure(HOSTILE, HOSTILE, HOSTILE)],
        refusals=[],
        batches=[a_batch(note=HOSTILE)],
    )
    named = replace(
        named,
        states=[StateFigures(HOSTILE, HOSTILE, 1)],
        accuracy=[AccuracyFigures(HOSTILE, Lane.BATCH, 1, HOSTILE, 1, 1.0, 0.2, 1.0)],
        incidents=steered(HOSTILE).incidents,
        rollouts=steered(HOSTILE).rollouts,
        splits=steered(HOSTILE).splits,
        advice=steered(HOSTILE).advice,
    )
    html = html_of(both(named))
    assert "onerror=alert(1)&gt;" in html
    assert not re.search(r"<img(?! src=\"data:)", html)
    assert 'evil.example"' not in html
    assert "<strong>bold" not in html


@given(st.text(max_size=60))
def test_any_text_stays_within_one_cell(text):
    html = html_of(f"| a | b |\n|:--|:--|\n| {cell(text)} x | {code(text)} |\n")
    assert html.count("<td") == 2
    assert html.count("<tr>") == 2


@given(st.text(max_size=60))
def test_any_text_is_shown_unchanged(text):
    html = html_of(f"x {cell(text, most=400)} x")
    shown = re.sub(r"<[^>]*>", "", html).replace("\u2060", "")
    for entity, char in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        shown = shown.replace(entity, char)
    assert " ".join(shown.split()) == " ".join(f"x {plain(text, most=400)} x".split())


@pytest.mark.slow
@pytest.mark.parametrize("snapshot", SNAPSHOTS)
def test_every_chart_is_well_formed_and_690_px_wide(snapshot):
    charts = charts_in(both(snapshot()))
    assert len(charts) == {nothing: 0, steered: 0, one_lane: 3}.get(snapshot, 4)
    for chart in charts:
        assert chart.get("width") == "690"


@pytest.mark.slow
@pytest.mark.parametrize("snapshot", [one_lane, two_workloads, far_too_much])
def test_no_two_labels_of_a_chart_overlap_and_none_leaves_the_card(snapshot):
    for chart in charts_in(both(snapshot())):
        boxes = []
        for each in texts_of(chart):
            width = text_width(each.text or "")
            x, y = float(each.get("x", 0)), float(each.get("y", 0))
            left = x - width if each.get("text-anchor") == "end" else x
            assert left >= 0
            assert left + width <= 690
            assert y <= float(chart.get("height", 0))
            boxes.append((left, left + width, y - 9, y + 2))
        for place, (left, right, top, bottom) in enumerate(boxes):
            for other_left, other_right, other_top, other_bottom in boxes[place + 1 :]:
                assert (
                    right <= other_left
                    or other_right <= left
                    or bottom <= other_top
                    or other_bottom <= top
                )


def test_latency_is_drawn_over_time_from_two_minutes_of_data_and_as_percentiles_below():
    assert "p50 0.40 s" in page.details_page(one_lane())
    assert "p95 of each minute" in page.details_page(two_workloads())


def test_a_chart_without_values_says_so():
    assert "no data yet" in bars([])
    assert "no data yet" in lines([Series("batch", [], "#000000")], step=timedelta(minutes=1))


def test_bars_of_a_cheap_workload_stay_visible_next_to_an_expensive_one():
    small = CostFigures(
        "notes", Decimal("0.0002"), Decimal("0.0004"), Decimal("0.0001"), Decimal(0)
    )
    large = CostFigures("tickets", Decimal(200), Decimal(400), Decimal(100), Decimal(0))
    shown = page.main_page(replace(two_workloads(), costs=[small, large]))
    assert "Each workload has its own scale." in shown
    (chart,) = charts_in(shown)
    widths = [float(each.get("width", 0)) for each in chart.iter() if each.get("rx") == "2"]
    assert min(widths) > 50
    assert "own scale" not in page.main_page(two_workloads())


def test_bars_of_zero_have_their_labels():
    chart = ET.fromstring(bars([Group("", [Bar("actual", 0, "$0"), Bar("all batch", 0, "$0")])]))
    assert [each.text for each in texts_of(chart)] == ["actual", "$0", "all batch", "$0"]


def test_a_thinned_line_keeps_its_peak():
    points = [(ago(1440 - m), 900.0 if m == 777 else 1.0) for m in range(1440)]
    chart = lines([Series("batch", points, "#047857")], step=timedelta(minutes=1))
    assert "highest 15 min" in chart
    heights = [float(pair.split(",")[1]) for pair in re.findall(r"[\d.]+,[\d.]+", chart)]
    assert len(heights) <= 101
    assert min(heights) < max(heights) - 40


def test_the_description_of_a_chart_cannot_end_its_markdown_image():
    assert data_uri("<svg/>", "a](b) ![c] | d").startswith(
        "![a(b) c  d](data:image/svg+xml;base64,"
    )


def test_a_label_is_cut_to_the_available_width():
    assert text_width(fit("w" * 500, 100)) <= 100
    assert fit("short", 100) == "short"


def test_the_headline_states_the_saving_the_batches_and_the_worst_real_time_p95():
    assert summary.headline(two_workloads()) == (
        "32 % saved · batch healthy · real-time p95 2.1 s · 3 items failed · since 14:05 UTC (60 min)"
    )
    assert summary.headline(nothing()) == "Nothing arrived since 14:05 UTC (60 min)"


def test_no_saving_is_claimed_while_items_are_still_to_pay():
    waiting = [StateFigures("tickets", "working", 107), StateFigures("tickets", "settled", 106)]
    said = str(summary.measure_total_saving(replace(two_workloads(), states=waiting)))
    assert said == "saving open: 107 of 213 items still to pay"


@pytest.mark.parametrize(
    ("actual", "said"),
    [
        (1, "50 % saved"),
        (3, "50 % more expensive than all real-time"),
        (4, "2.0 times the cost of all real-time"),
        (Decimal("23.636"), "11.8 times the cost of all real-time"),
        (2_408, "1,204 times the cost of all real-time"),
    ],
)
def test_a_cost_of_at_least_twice_all_real_time_is_stated_as_a_multiple(actual, said):
    costs = [CostFigures("tickets", Decimal(actual), Decimal(2), Decimal(1), Decimal(0))]
    assert str(summary.measure_total_saving(replace(two_workloads(), costs=costs))) == said


def test_a_batch_shows_its_duration_or_its_expected_end():
    assert summary.batch_time(a_batch(), NOW) == "took 30 s"
    under_way = a_batch(
        state="submitted",
        submitted_at=ago(14),
        expected_end_at=ago(-6),
        ended_at=None,
        collected_at=None,
    )
    assert summary.batch_time(under_way, NOW) == "14 min so far, expected 15:11 UTC"
    assert (
        summary.batch_time(replace(under_way, expected_end_at=ago(6)), NOW)
        == "14 min so far, expected 14:59 UTC"
    )


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("0.00123", "$0.00123"),
        ("0.0012345", "$0.00123"),
        ("0.46", "$0.460"),
        ("1", "$1.00"),
        ("1234.5", "$1,234.50"),
        ("0", "$0"),
        ("-0.0301", "-$0.0301"),
        ("0.000000002", "$0.000000002"),
    ],
)
def test_small_amounts_keep_significant_digits(amount, said):
    assert usd(Decimal(amount)) == said


def test_amounts_in_a_column_have_the_same_number_of_decimals():
    amounts = [Decimal("0.00212"), None, Decimal("-1.5"), Decimal(0)]
    assert [*map(align_usd(amounts), amounts)] == ["$0.00212", "-", "-$1.50000", "$0.00000"]


@pytest.mark.parametrize(
    ("duration", "said"),
    [
        (None, "-"),
        (0, "0 s"),
        (0.14, "0.14 s"),
        (0.999, "1.0 s"),
        (2.08, "2.1 s"),
        (9.97, "10 s"),
        (25.4, "25 s"),
        (119.6, "2.0 min"),
        (1320, "22 min"),
        (12_600, "3.5 h"),
        (345_600, "4.0 d"),
        (-1320, "-22 min"),
    ],
)
def test_a_duration_is_written_in_a_suitable_unit(duration, said):
    assert seconds(duration) == said


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (0, "0 %"),
        (0.0002, "<0.1 %"),
        (0.045, "4.5 %"),
        (0.27, "27 %"),
        (0.995, "99.5 %"),
        (0.9999, ">99.9 %"),
        (1, "100 %"),
        (-0.12, "-12 %"),
        (None, "-"),
    ],
)
def test_a_share_is_never_rounded_to_all_or_none(part, said):
    assert share(part) == said


def test_a_clock_time_on_another_day_includes_the_date():
    assert clock(ago(5), beside=NOW) == "15:00 UTC"
    assert clock(ago(24 * 60), beside=NOW) == "2026-12-02 15:05 UTC"


def test_a_count_of_one_is_singular():
    assert [pluralize(1, "batch"), pluralize(2, "batch"), pluralize(1204, "item")] == [
        "1 batch",
        "2 batches",
        "1,204 items",
    ]
