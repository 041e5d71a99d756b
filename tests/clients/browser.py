"""A person at a browser: signs in, ticks the scopes, goes on; ends where the redirect leads out of
the authorization server."""

import html.parser
import urllib.parse

import httpx2


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.fields = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag in ("input", "button"):
            self.fields.append({"tag": tag, **dict(attributes)})


async def agree(url, callback, writes, ticks, headers=()):
    """What the callback gets, as a dictionary. `writes` has what is put into each field, and
    `ticks(scope)` says which boxes are ticked. Of several buttons the first is pressed. The
    headers are sent with every request."""
    # As browsers do.
    origin = {"Origin": "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(url))}
    async with httpx2.AsyncClient(follow_redirects=False, headers=dict(headers)) as browser:
        answer = await browser.get(url)
        for _ in range(20):
            if answer.is_redirect:
                url = urllib.parse.urljoin(str(answer.url), answer.headers["location"])
                if url.startswith(callback):
                    parts = urllib.parse.urlsplit(url)
                    return dict(urllib.parse.parse_qsl(parts.query or parts.fragment))
                answer = await browser.get(url)
                continue
            if answer.status_code != 200:
                raise RuntimeError(
                    f"the authorization server's page: {answer.status_code} {answer.text}"
                )
            form = {}
            for field in Page(answer.text).fields:
                if field["tag"] == "button":
                    if "name" in field:
                        form.setdefault(field["name"], [field["value"]])
                elif field.get("type") == "checkbox":
                    if ticks(field["value"]):
                        form.setdefault(field["name"], []).append(field["value"])
                else:
                    form[field["name"]] = [writes[field["name"]]]
            answer = await browser.post(
                str(answer.url),
                content=urllib.parse.urlencode(form, doseq=True),
                headers={"Content-Type": "application/x-www-form-urlencoded", **origin},
            )
    raise RuntimeError("the pages have no end")
