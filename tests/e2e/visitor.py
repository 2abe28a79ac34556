"""Visits a published app as a browser without JavaScript does: page, form, answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import requests

ANSWER_SECONDS = 120


@dataclass
class Form:
    action: str
    # Field name → type (`file`, `text`, `select`, …), in the page's order.
    fields: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)


class Page(HTMLParser):
    def __init__(self, html: str):
        super().__init__()
        self.html = html
        self.forms: list[Form] = []
        self.text = ""
        self.links: list[str] = []
        self._select: str | None = None
        self._skip = 0
        self.feed(html)

    @property
    def answers(self) -> list[str]:
        """What stands in the answer areas of the forms, as HTML; empty before a form was sent."""
        found = re.findall(r"<div class=\"result\"[^>]*>(.*?)</div></section>", self.html, re.DOTALL)
        return [answer for answer in found if answer.strip()]

    @property
    def answer(self) -> str:
        (answer,) = self.answers
        return answer

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.links += [a[n] for n in ("src", "href", "action", "poster", "data") if a.get(n)]
        if tag in ("script", "style"):
            self._skip += 1
        if tag == "form":
            self.forms.append(Form(a.get("action") or ""))
        if not self.forms:
            return
        form = self.forms[-1]
        name = a.get("name")
        if tag in ("input", "textarea") and name:
            form.fields[name] = "textarea" if tag == "textarea" else (a.get("type") or "text")
            if "value" in a:
                form.values[name] = a["value"] or ""
        elif tag == "select" and name:
            self._select = name
            form.fields[name] = "select"
            form.choices[name] = []
        elif tag == "option" and self._select:
            form.choices[self._select].append(a.get("value") or "")

    def handle_endtag(self, tag):
        if tag == "select":
            self._select = None
        if tag in ("script", "style"):
            self._skip -= 1

    def handle_data(self, data):
        if not self._skip:
            self.text += data


class Visitor:
    """One browser: its cookies, and the page it looks at."""

    def __init__(self, url: str):
        self.session = requests.Session()
        self.session.trust_env = False
        self.url = url

    @property
    def origin(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def get(self, url: str | None = None, **options) -> requests.Response:
        answer = self.session.get(url or self.url, timeout=ANSWER_SECONDS, **options)
        if answer.ok:
            self.url = answer.url
        return answer

    def get_beside(self, link: str) -> requests.Response:
        """What a link of the page leads to."""
        return self.session.get(urljoin(self.url, link), timeout=ANSWER_SECONDS)

    def page(self) -> Page:
        answer = self.get()
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        assert answer.headers["content-type"].startswith("text/html")
        return Page(answer.text)

    def submit(self, form: Form, origin: str | None = "same", files: dict | None = None, **values: str):
        """Sends the form as multipart, with what the page had filled in."""
        headers = {} if origin is None else {"Origin": self.origin if origin == "same" else origin}
        hidden = {
            n: v for n, v in form.values.items() if form.fields[n] not in ("checkbox", "file", "submit")
        }
        parts = {n: (None, v) for n, v in (hidden | values).items()} | (files or {})
        target = urljoin(self.url, form.action).split("#")[0]
        return self.session.post(target, files=parts, headers=headers, timeout=ANSWER_SECONDS)

    def answer(self, form: Form, **sent) -> str:
        """Sends the form and returns what its answer area shows, as HTML."""
        response = self.submit(form, **sent)
        assert response.headers["content-type"].startswith("text/html"), response.text
        return Page(response.text).answer
