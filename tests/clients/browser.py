"""A person at a browser: signs in, ticks the scopes, goes on; ends where the redirect leads out of the authorization server."""

import html.parser
import urllib.parse

import httpx2


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.fields = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "input":
            self.fields.append(dict(attributes))


async def agree(url, callback, login, ticks):
    """What the callback gets, as a dictionary. `ticks(scope)` says which boxes are ticked."""
    async with httpx2.AsyncClient(follow_redirects=False) as browser:
        answer = await browser.get(url)
        for _ in range(20):
            if answer.is_redirect:
                url = urllib.parse.urljoin(str(answer.url), answer.headers["location"])
                if url.startswith(callback):
                    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
                answer = await browser.get(url)
                continue
            if answer.status_code != 200:
                raise RuntimeError(f"the authorization server's page: {answer.status_code} {answer.text}")
            form = []
            for field in Page(answer.text).fields:
                if field.get("type") == "checkbox":
                    if ticks(field["value"]):
                        form.append((field["name"], field["value"]))
                else:
                    form.append((field["name"], login))
            answer = await browser.post(
                str(answer.url), content=urllib.parse.urlencode(form),
                headers={"Content-Type": "application/x-www-form-urlencoded"},
            )
    raise RuntimeError("the pages have no end")
