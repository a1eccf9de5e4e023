"""People at a console, in a real browser: signed in once, each page in a window of its own."""

from __future__ import annotations

from typing import Any

from house import House

__all__ = ["HEIGHT", "PAGES", "Visits"]

HEIGHT = 844
PAGES = (
    "/",
    "/target/shop/agent",
    "/readiness",
    "/scope/shop",
    "/incidents",
    "/alarms",
    "/rules",
    "/drills",
    "/reset",
    "/tickets",
    "/ledger",
    "/people",
    "/devices",
    "/me",
)
"""One of each kind of page, as far as a world without a record has it."""


class Visits:
    """Opens pages of one house, and closes them all."""

    def __init__(self, house: House, browser: Any) -> None:  # noqa: ANN401 - playwright's
        self.house = house
        self.browser = browser
        self._cookies: list[dict[str, Any]] = house.__dict__.setdefault("cookies", [])
        self._open: list[Any] = []

    def context(self, *, anew: bool = False, **how: Any) -> Any:  # noqa: ANN401
        """Give a browser of somebody who is signed in; `how` is playwright's.

        All share one session, as windows of one browser do, unless they sign in `anew`.
        """
        context = self.browser.new_context(**how)
        self._open.append(context)
        if anew:
            context.add_cookies(self._signed_in())
            return context
        if not self._cookies:
            self._cookies += self._signed_in()
        context.add_cookies(self._cookies)
        return context

    def _signed_in(self) -> list[dict[str, Any]]:
        jar = self.house.client().cookies.jar
        return [{"name": one.name, "value": one.value, "url": self.house.url} for one in jar]

    def open(
        self,
        path: str = "/",
        *,
        script: bool = True,
        width: int = 1280,
        dark: bool = False,
        context: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Open a page, and wait until it is live (where it has a script)."""
        context = context or self.context(
            java_script_enabled=script,
            viewport={"width": width, "height": HEIGHT},
            color_scheme="dark" if dark else "light",
        )
        page = context.new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(self.house.url + path)
        if script:
            page.wait_for_selector("html.script")
        return page

    def close(self) -> None:
        for context in self._open:
            context.close()
        self._open.clear()
