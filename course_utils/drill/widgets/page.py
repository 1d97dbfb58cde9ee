"""A page of text above fields and buttons, as JupyterLab and Colab show it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from re import sub
from typing import Any

import ipywidgets as widgets

from course_utils import CourseError
from course_utils.drill.progress import Progress

Act = Callable[[], object]  # what a click does
STYLE = Path(__file__).with_name("page.css")


def said(text: str, kind: str = "") -> str:
    """A paragraph; markup in the text is shown and not obeyed."""
    return f"<p class='{kind}'>{escape(text)}</p>"


def folded(title: str, lines: Iterable[str]) -> str:
    """Lines below a title that unfolds them."""
    body = "".join(said(line, "small") for line in lines)
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def filling(seconds: float, spent: float = 0) -> str:
    """A bar that is full after some seconds, `spent` of which are over."""
    timing = f"animation-duration: {seconds:.0f}s; animation-delay: -{spent:.0f}s"
    return f"<div class='bar'><div style='{timing}'></div></div>"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys, which are the heads."""
    heads = "".join(f"<th>{escape(name)}</th>" for name in rows[0]) if rows else ""
    lines = (
        "".join(f"<td>{escape(str(value))}</td>" for value in row.values())
        for row in rows
    )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><tr>{heads}</tr>{body}</table>"


class View(widgets.VBox):
    """A page of text above fields and buttons; each step shows another one."""

    command = ""  # of the terminal, that does the same

    def __init__(self, progress: Progress | None):
        super().__init__()
        self.progress = progress or Progress()
        self.page, self.controls = widgets.HTML(), widgets.VBox()
        style = f"<style>{STYLE.read_text(encoding='utf-8')}</style>"
        self.children = [widgets.HTML(style), self.page, self.controls]
        self.add_class("course-drill")

    def show(
        self,
        page: Iterable[str],
        buttons: Mapping[str, Act],
        fields: Iterable[widgets.Widget] = (),
        proposed: str = "",
    ) -> None:
        """Replace what is shown; the button that is `proposed`, or alone, is marked."""
        notice = self.progress.notice
        told = [said(notice, "missed")] if notice else []
        self.page.value = "".join([*told, *page])
        before = self.controls.children
        marked = proposed or (next(iter(buttons)) if len(buttons) == 1 else "")
        row = [self._button(*pair, pair[0] == marked) for pair in buttons.items()]
        wrapped = widgets.Layout(flex_flow="row wrap", max_width="100%")
        self.controls.children = [*fields, widgets.HBox(row, layout=wrapped)]
        for control in before:
            _close(control)

    def _button(self, text: str, act: Act, marked: bool) -> widgets.Button:
        button = widgets.Button(description=text, layout=widgets.Layout(width="auto"))
        button.button_style = "primary" if marked else ""
        button.on_click(lambda _: self.tried(act))
        return button

    def tried(self, act: Act) -> None:
        """Do what a click asks for; a problem is told on the page."""
        try:
            act()
        except CourseError as problem:
            self.page.value += said(str(problem), "missed")

    def __repr__(self) -> str:
        command = f"python -m course_utils.drill {self.command}"
        return f"The buttons need a running notebook; in a terminal: {command}"


def _close(control: Any) -> None:
    for part in getattr(control, "children", ()):
        _close(part)
    control.close()


def checkboxes(points: Iterable[str]) -> list[widgets.Checkbox]:
    """One for each point. (Before ipywidgets 8 their text could be markup.)"""
    wide = {"indent": False, "layout": {"width": "auto", "max_width": "100%"}}
    plain = (sub(r"<(?=[\w/!?])", "< ", point) for point in points)
    return [widgets.Checkbox(description=point, **wide) for point in plain]


def ticks_of(boxes: Iterable[widgets.Checkbox]) -> tuple[bool, ...]:
    """What is ticked, in order."""
    return tuple(bool(box.value) for box in boxes)
