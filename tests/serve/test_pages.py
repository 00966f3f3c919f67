"""Tests of the pages in a real browser, and of the files that they are made of."""

import re
from importlib.resources import files

import httpx
import pytest

from helpers.browser import Browser, needs_chromium
from helpers.serve import small_program
from helpers.service_process import ServiceProcess
from seqkeras.serve import Client

TOKEN = "a-token-of-the-tests"

#: Smallest contrast between a text and what is behind it, for every element with text.
CONTRAST = """
(() => {
  const channels = (color) => color.match(/[0-9.]+/g).map(Number);
  const light = (color) => channels(color).slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if ((channels(color)[3] ?? 1) === 1) return color;
    }
    return "rgb(255, 255, 255)";
  };
  let worst = [21, ""];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const pair = [getComputedStyle(element).color, ground(element)].map(light).sort();
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < worst[0]) worst = [ratio, element.outerHTML.slice(0, 200)];
  }
  return worst;
})()
"""

#: Controls without a name that a screen reader could say.
NAMELESS = """
[...document.querySelectorAll("input, textarea, button, a, svg, [role=img], summary")]
  .filter((e) => !e.innerText?.trim() && !e.getAttribute("aria-label") && !e.labels?.length)
  .map((e) => e.outerHTML)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return small_program(tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="module")
def service(program):
    with ServiceProcess(program) as service:
        yield service


@pytest.fixture(scope="module")
def guarded(program, tmp_path_factory):
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text(f"admin {TOKEN}\n")
    with ServiceProcess(program, tokens=str(tokens)) as service:
        yield service


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def browser(tab):
    tab.problems.clear()
    tab.resize(1280)
    tab.prefer("light")
    return tab


def url_of(service):
    return f"http://127.0.0.1:{service.port}"


def show_session(browser, service, name="pump-7"):
    """Open the page, choose a session by its button, and send it 20 steps."""
    with Client(url_of(service)) as client:
        session = client.session(name)
        session.delete()
        session.step([4.0, 310.0, 0.1])
        browser.open(url_of(service))
        buttons = "[...document.querySelectorAll('#list button')]"
        browser.wait(f"{buttons}.some((b) => b.innerText === '{name}' && (b.click(), true))")
        browser.wait(f"document.querySelector('#one-heading').innerText === '{name}'")
        httpx.get(f"{url_of(service)}/v1/sessions/{name}/recent")  # recorded from here on
        for i in range(20):
            session.step([4.0 + i, 310.0, 0.1])
    browser.wait("document.querySelectorAll('#charts svg').length === 5")
    browser.wait("document.querySelector('#readout').innerText.startsWith('Step 20 ')")


@needs_chromium
def test_the_page_shows_the_newest_steps_of_a_session(browser, service):
    show_session(browser, service)
    assert browser.text("#state") == "Ready"
    assert browser.text("h1") == "small"
    flow = browser.text("#charts .inputs .label")
    assert re.sub(r"\s+", " ", flow) == "flow 23"
    drawn = browser.value("document.querySelector('#charts svg').getAttribute('aria-label')")
    assert drawn.startswith("flow: newest 23, from 4 to 23")
    assert browser.text("#in-memory") == "1"
    assert not browser.problems


@needs_chromium
def test_steps_can_be_read_by_keyboard_and_as_a_table(browser, service):
    show_session(browser, service)
    browser.value("document.querySelector('#charts').focus()")
    browser.press("ArrowLeft")
    browser.press("ArrowLeft")
    assert browser.text("#readout").startswith("Step 18 ")
    assert browser.text("#charts .inputs b") == "21"
    assert browser.value("document.querySelector('#readout').getAttribute('aria-live')") == "polite"
    browser.press("End")
    assert "the newest" in browser.text("#readout")
    browser.value("document.querySelector('#numbers summary').click()")
    browser.wait("document.querySelectorAll('#table tbody tr').length > 10")
    heads = browser.value("[...document.querySelectorAll('#table th')].map((e) => e.innerText)")
    assert heads == ["step", "flow", "pressure", "heat", "y 1", "y 2"]
    first = browser.value("[...document.querySelectorAll('#table td')].map((e) => e.innerText)")
    assert first[:4] == ["20", "23", "310", "0.1"]


@needs_chromium
@pytest.mark.parametrize("page", ["/", "/docs"])
def test_pages_are_legible_named_and_narrow_enough_for_a_phone(browser, service, page):
    browser.resize(360)
    if page == "/":
        show_session(browser, service, "a-long-name" * 9)
    else:
        browser.open(url_of(service) + page)
        browser.wait("document.querySelectorAll('.operation').length > 10")
        browser.value("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        ratio, element = browser.value(CONTRAST)
        assert ratio >= 4.5, (scheme, element)
    assert browser.value(NAMELESS) == []
    assert browser.value("document.documentElement.scrollWidth") <= 360


@needs_chromium
def test_the_page_asks_for_a_token_until_it_is_right(browser, guarded):
    browser.open(url_of(guarded))
    for token in ("some-wrong-token-1", TOKEN):
        browser.wait("document.querySelector('#ask').open")
        browser.type("#token", token)
        browser.press("Enter")
        browser.wait(f"sessionStorage.getItem('token') === '{token}'")
    browser.wait("document.querySelector('#state').innerText === 'Ready'")
    assert browser.value("sessionStorage.getItem('token')") == TOKEN
    assert TOKEN not in browser.value("document.documentElement.outerHTML + location.href")


@needs_chromium
def test_a_service_that_ends_is_said(browser, program):
    with ServiceProcess(program) as service:
        browser.open(url_of(service))
        browser.wait("document.querySelector('#state').innerText === 'Ready'")
    browser.wait("document.querySelector('#state').innerText.includes('does not reply')")


@needs_chromium
def test_the_documentation_sends_a_request(browser, service):
    browser.open(url_of(service) + "/docs")
    browser.wait("document.querySelector('#step form')")
    browser.value("document.querySelector('#step summary').click()")
    command = browser.text("#step pre")
    assert "curl -X POST" in command
    assert '{"x":{"flow":0.5,"pressure":0.5,"heat":0.5}}' in command
    browser.value("document.querySelector('#step-id').value = 'documented'")
    browser.value("document.querySelector('#step button').click()")
    browser.wait("document.querySelector('#step .good')")
    assert browser.text("#step .good").startswith("Status 200")
    with Client(url_of(service)) as client:
        assert client.session("documented").export_state().step == 1
    assert not browser.problems


@pytest.mark.parametrize("path", ["/", "/docs", "/static/page.js", "/static/page.css"])
def test_pages_may_load_nothing_from_elsewhere(service, path):
    reply = httpx.get(url_of(service) + path)
    assert reply.status_code == 200
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert not re.search(r"unsafe|https?:|\*|data:", policy)
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_the_files_name_no_other_host():
    for file in (files("seqkeras.serve") / "static").iterdir():
        addresses = re.findall(r"https?://[^\"'\s]+|//cdn[^\"'\s]+", file.read_text())
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}


def test_pages_need_no_token_and_data_does(guarded):
    url = url_of(guarded)
    for path in ("/", "/docs", "/static/page.js", "/healthz"):
        assert httpx.get(url + path).status_code == 200
    paths = ("/v1/sessions", "/v1/status", "/v1/sessions/a/recent", "/openapi.json", "/metrics")
    for path in paths:
        reply = httpx.get(url + path)
        assert (reply.status_code, reply.json()["code"]) == (401, "unauthorized")
        assert httpx.get(url + path, headers={"authorization": f"Bearer {TOKEN}"}).status_code in (
            200,
            404,
        )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/static/../page.js", 404), ("POST", "/healthz", 405)],
)
def test_other_paths_and_methods_are_refused_in_json(service, method, path, status):
    reply = httpx.request(method, url_of(service) + path)
    assert reply.status_code == status
    assert set(reply.json()) == {"error", "code"}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:{port}", 200),
        ("[::1]:{port}", 200),
        ("LOCALHOST", 200),
        ("pages.example:{port}", 403),
        ("localhost.pages.example", 403),
        ("127.0.0.1.pages.example", 403),
    ],
)
def test_without_tokens_the_service_has_no_other_name(service, host, status):
    """A page of another site, whose name resolves to this machine, must not use the service."""
    host = host.format(port=service.port)
    for path in ("/v1/sessions", "/v1/model", "/metrics", "/openapi.json", "/v1/status"):
        reply = httpx.get(f"{url_of(service)}{path}", headers={"host": host})
        assert reply.status_code == status, reply.text


def test_with_tokens_the_service_has_any_name(guarded):
    headers = {"host": "pumps.example", "authorization": f"Bearer {TOKEN}"}
    assert httpx.get(f"{url_of(guarded)}/v1/sessions", headers=headers).status_code == 200
