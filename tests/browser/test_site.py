"""The documentation's website in a real browser: search, diagram, width on a phone, and no request to another host."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_report import _OWN
from tests.website import build

pytestmark = pytest.mark.browser


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and prints nothing."""

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Build the site and serve it on this machine."""
    folder: Path = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def open_page(chromium: Any, url: str, width: int) -> None:
    chromium.get("about:blank")
    chromium.get_log("browser")
    chromium.get_log("performance")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    chromium.get(url)


def requests(chromium: Any) -> list[str]:
    events = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith((*_OWN, "blob:"))]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("page", ["index", "train", "cli", "architecture"])
def test_a_page_fits_the_screen_and_asks_nobody_else(chromium: Any, address: str, page: str, width: int) -> None:
    open_page(chromium, f"{address}/{page}.html", width)
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
    sent = requests(chromium)
    assert sent
    assert [url for url in sent if not url.startswith(f"{address}/")] == []
    assert [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_diagram_is_drawn_without_a_script(chromium: Any, address: str) -> None:
    open_page(chromium, f"{address}/architecture.html", 1280)
    height = "return document.querySelector('.diagram svg').getBoundingClientRect().height"
    assert chromium.execute_script(height) > 200
    assert "Dataset" in chromium.execute_script("return document.querySelector('.diagram').textContent")


def test_search_finds_a_page(chromium: Any, address: str) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    open_page(chromium, f"{address}/index.html?q=labelme", 1280)
    results = ".md-search-result__item a"
    found = WebDriverWait(chromium, 20).until(lambda page: page.find_elements(By.CSS_SELECTOR, results))
    assert found[0].get_attribute("href").startswith(address)
    assert [url for url in requests(chromium) if not url.startswith(f"{address}/")] == []
