"""People at a console, in a real browser: signed in once, each page in a window of its own."""

from __future__ import annotations

from typing import Any

from house import House

__all__ = ["Visits"]

HEIGHT = 844


class Visits:
    """Opens pages of one house, and closes them all."""

    def __init__(self, house: House, browser: Any) -> None:  # noqa: ANN401 - playwright's
        self.house = house
        self.browser = browser
        self._cookies: list[dict[str, Any]] = []
        self._open: list[Any] = []

    def context(self, **how: Any) -> Any:  # noqa: ANN401
        """Give a browser of somebody who is signed in; `how` is playwright's."""
        if not self._cookies:
            jar = self.house.client().cookies.jar
            self._cookies = [
                {"name": one.name, "value": one.value, "url": self.house.url} for one in jar
            ]
        context = self.browser.new_context(**how)
        context.add_cookies(self._cookies)
        self._open.append(context)
        return context

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
