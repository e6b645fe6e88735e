"""The page as a browser shows it: no error, nothing loaded, no sideways scroll, legible, and controls that work."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medsaliency.report.contents import Contents
from medsaliency.report.html import render

from .devtools import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HARNESS = Path(__file__).parent / "harness.js"

WATCH = """<script>
window.trouble = [];
addEventListener("error", (event) => trouble.push("error: " + event.message));
addEventListener("unhandledrejection", (event) => trouble.push("rejection: " + event.reason));
document.addEventListener("securitypolicyviolation", (event) => trouble.push("blocked: " + event.blockedURI));
for (const kind of ["error", "warn"]) console[kind] = (...words) => trouble.push(kind + ": " + words.join(" "));
</script>"""
THEMES = {"light": "--blink-settings=preferredColorScheme=1", "dark": "--blink-settings=preferredColorScheme=0"}

CLOCK = """<script>
addEventListener("load", () => {
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify(performance.now());
  document.body.append(result);
});
</script>"""

Seen = dict[str, Any]


def chromium() -> str:
    if CHROMIUM is None:
        message = "the report is checked in a browser: install chromium (Debian: apt install chromium)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return str(CHROMIUM)


def result_of(page: Path, profile: Path, *more: str) -> Any:
    """What the page wrote into its element ``result``."""
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--window-size=1500,1000", "--dump-dom", *more,
    ]  # fmt: skip
    done = subprocess.run(
        [chromium(), *options, f"--user-data-dir={profile}", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, f"the page gave no result: {done.stdout[:500]} {done.stderr[-500:]}"
    return json.loads(unescape(found[1]))


@pytest.fixture(scope="module")
def harness(contents: Contents, tmp_path_factory: pytest.TempPathFactory) -> Path:
    chromium()
    marker = np.zeros(contents.cases[0].image.shape[-2:], dtype=bool)
    marker[100:110, 80:96] = True
    cases = [replace(contents.cases[0], marker=marker), *contents.cases[1:]]
    page = render(replace(contents, cases=cases)).replace("<title>", WATCH + "<title>", 1)
    held = json.dumps(page).replace("<", "\\u003c")  # the page's own tags must not end the harness's script
    script = f"const PAGE = {held};\n{HARNESS.read_text(encoding='utf-8')}"
    path = tmp_path_factory.mktemp("browser") / "harness.html"
    path.write_text(f"<!doctype html><body><script>{script}</script></body>", encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=list(THEMES))
def themed(request: pytest.FixtureRequest, harness: Path) -> tuple[str, Seen]:
    theme = str(request.param)
    found = result_of(harness, harness.parent / theme, THEMES[theme], "--virtual-time-budget=30000")
    assert "failure" not in found, found["failure"]
    return theme, found


@pytest.fixture(params=["400", "768", "1400"])
def seen(request: pytest.FixtureRequest, themed: tuple[str, Seen]) -> Seen:
    found: Seen = themed[1][request.param]
    return {**found, "theme": themed[0], "frame": int(request.param)}


def test_the_page_runs_without_trouble_and_loads_nothing(seen: Seen) -> None:
    assert seen["structure"]["dark"] == (seen["theme"] == "dark"), "the browser shows the theme that was asked for"
    assert seen["trouble"] == []
    assert seen["structure"]["loaded"] == []


def test_the_page_does_not_scroll_sideways(seen: Seen) -> None:
    assert seen["structure"]["scroll"] <= seen["structure"]["width"] <= seen["frame"]
    assert seen["scrollOpen"] <= seen["structure"]["width"], "nor with everything unfolded"


def test_every_part_can_be_reached_and_has_a_name(seen: Seen) -> None:
    page = seen["structure"]
    assert page["links"] == 4
    assert page["missing"] == []
    assert page["repeated"] == []
    assert page["unnamed"] == []
    assert page["outOfOrder"] == []
    assert page["landmarks"] == ["header", "nav", "main", "footer"]
    assert page["banner"] == "sticky", "the notice of research use stays in sight"


def test_all_text_has_the_contrast_of_wcag_aa(seen: Seen) -> None:
    assert seen["contrast"]["looked"] > 300
    assert seen["contrast"]["short"] == {}


def test_the_display_controls_act_on_every_picture(seen: Seen) -> None:
    shown = seen["display"]
    assert shown["cases"] == 5
    assert shown["pictures"]
    assert shown["opacity"] == ["0.2"]
    assert shown["told"] == "20%"
    assert shown["lines"] == ["hidden", "visible", "visible"], "the legend keeps its line"
    assert (shown["hiddenMap"], shown["shownMap"]) == (0, 5)
    shown_errors, errors, said = shown["errors"]
    assert 0 < shown_errors == errors < 5
    assert said == f"{errors} of 5 cases"


def test_window_and_level_are_a_linear_filter_of_every_image(seen: Seen) -> None:
    shown = seen["display"]
    assert shown["unfiltered"] == "none"
    # A window of half the range around 0.6 runs from 0.35 to 0.85: (v - 0.35) / 0.5.
    assert [tuple(map(float, channel.split(","))) for channel in shown["channels"]] == [pytest.approx((2, -0.7))] * 3
    assert shown["filtered"] == ['url("#window")']
    assert shown["reset"] == ["1,0"] * 3 + ["none"]


def test_all_pictures_of_a_case_zoom_together_and_no_other_case(seen: Seen) -> None:
    zoom = seen["zoom"]
    assert zoom["live"] == "polite"
    assert zoom["button"] == [["21.333 21.333 85.333 85.333"], "Zoom 150%"]
    assert zoom["other"] == ["0 0 128 128"]
    assert zoom["panned"] == ["42.667 21.333 85.333 85.333"], "a quarter of the part that is seen, within the image"
    assert zoom["reset"] == [["0 0 128 128"], "Zoom 100%", "in"], "the focus stays in the group"
    assert zoom["most"] == ["Zoom 800%", True]


def test_zoom_and_pan_work_by_keyboard(seen: Seen) -> None:
    whole, zoomed, panned = ["0 0 128 128"], ["21.333 21.333 85.333 85.333"], ["29.867 21.333 85.333 85.333"]
    assert seen["zoom"]["keys"] == [True, zoomed, True, panned, True, whole]
    assert seen["zoom"]["idle"] is False, "with nothing to pan the arrows scroll the page"
    assert seen["zoom"]["browsers"] is False, "the browser's own zoom is left alone"


def test_zoom_and_pan_work_by_wheel_drag_and_pinch(seen: Seen) -> None:
    zoom = seen["zoom"]
    assert zoom["wheelAlone"] == [True, ["0 0 128 128"]], "the wheel alone scrolls the page"
    unhandled, (box,) = zoom["wheel"]
    assert unhandled is False
    assert box.startswith("0 0 "), "the corner under the pointer stays"
    assert float(box.split()[2]) == pytest.approx(128 / np.exp(0.4), abs=0.01)
    ((before,), (after,)) = zoom["drag"]
    moved = float(after.split()[0]) - float(before.split()[0])
    assert moved == pytest.approx(0.1 * 128 / 1.5, abs=0.1), "the picture follows the pointer"
    assert zoom["pinch"] == "Zoom 200%", "fingers twice as far apart"


def test_what_the_model_saw_is_in_sight(seen: Seen) -> None:
    assert seen["display"]["strips"] == [4] * 10
    assert seen["display"]["stripsSeen"]


def test_a_print_unfolds_everything_and_shows_whole_pictures(seen: Seen) -> None:
    zoomed = "21.333 21.333 85.333 85.333"
    assert seen["print"] == {"screen": [True, zoomed], "paper": [0, "0 0 128 128"], "after": [True, zoomed]}


def test_the_evidence_can_be_chosen_sorted_and_unfolded(seen: Seen) -> None:
    found = seen["tables"]
    panels, pressed = found["panel"]
    assert panels == ["2"]
    assert pressed == ["false", "true", "false"]
    before, after = found["curves"]
    assert before == 2 * 8, "the mean curve of each method, in two charts"
    assert after == 2 * 7
    assert found["down"] == sorted(found["down"], reverse=True)
    assert found["up"] == sorted(found["up"])
    assert len(set(found["up"])) > 1
    assert found["card"] == [True, False]


def test_the_evidence_behind_a_verdict_opens_and_closes_by_mouse_and_by_keyboard(
    contents: Contents, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(render(contents), encoding="utf-8")
    with Page(chromium(), path, tmp_path / "profile") as page:
        page.run("window.cells = document.querySelectorAll('#trust-card button[popovertarget]')")
        page.run("window.entries = [0, 1].map((k) => document.getElementById(cells[k].getAttribute('popovertarget')))")
        shown = "entries.map((entry) => entry.checkVisibility())"
        focused = "[...cells].indexOf(document.activeElement)"
        assert page.run(shown) == [False, False]

        page.run("cells[0].scrollIntoView({ block: 'center' })")
        box = page.run(
            "(({ x, y, width, height }) => [x + width / 2, y + height / 2])(cells[0].getBoundingClientRect())"
        )
        page.click(*box)
        assert page.run(shown) == [True, False]
        page.press("Escape", 27)
        assert page.run(shown) == [False, False]

        page.run("cells[0].focus()")
        page.press("Tab", 9)
        assert page.run(focused) == 1, "the cells are reached one after another"
        page.press("Enter", 13, "\r")
        assert page.run(shown) == [False, True]
        page.press("Tab", 9)
        assert page.run("document.activeElement === entries[1].querySelector('.close')"), "its only control comes next"
        page.press("Enter", 13, "\r")
        assert page.run(shown) == [False, False]
        assert page.run(focused) == 1, "the focus goes back to the cell"
        page.press(" ", 32, " ")
        assert page.run(shown) == [False, True]
        page.press("Escape", 27)
        assert [page.run(shown), page.run(focused)] == [[False, False], 1]


@pytest.mark.slow
def test_sixty_cases_of_twelve_methods_are_small_and_open_soon(contents: Contents, tmp_path: Path) -> None:
    chromium()
    first = contents.cases[0]
    more = {f"method {k}": list(first.maps.values())[k] for k in range(4)}
    case = replace(
        first,
        image=np.kron(first.image, np.ones((1, 2, 2), dtype=np.float32)),
        lesion=None,
        maps={**first.maps, **more},
        strips=[*first.strips, replace(first.strips[0], method="gradient")],
    )
    page = tmp_path / "report.html"
    page.write_text(render(replace(contents, cases=[case] * 60)).replace("</body>", CLOCK + "</body>"), "utf-8")
    assert page.stat().st_size < 15e6
    assert result_of(page, tmp_path / "profile") < 3000, "milliseconds until everything is loaded"
