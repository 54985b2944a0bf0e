"""The tree of Trio's tasks: who runs, who waits, and where."""

from __future__ import annotations

from typing import Final

import trio

from quantlab_collector.status.views import Json

PACKAGE: Final = "quantlab_collector"


def task_tree(task: trio.lowlevel.Task | None = None) -> Json:
    """A task with all below it; of the running program if none is given."""
    root = task or trio.lowlevel.current_root_task()
    if root is None:
        raise RuntimeError("nothing runs")
    return {
        "name": root.name,
        "at": _place(root),
        "nurseries": [
            [task_tree(child) for child in sorted(nursery.child_tasks, key=lambda t: t.name)] for nursery in root.child_nurseries
        ],
    }


def as_text(tree: Json) -> str:
    """The same for people, one line a task."""
    return "\n".join(_lines(tree, "")) + "\n"


def _lines(tree: Json, indent: str) -> list[str]:
    lines = [f"{indent}{tree['name']}" + (f"   {tree['at']}" if tree["at"] else "")]
    for nursery in tree["nurseries"]:
        lines.append(f"{indent}  nursery")
        for child in nursery:
            lines += _lines(child, indent + "    ")
    return lines


def _place(task: trio.lowlevel.Task) -> str:
    """The innermost line of ours that it is at, else simply the innermost. A name of a module, never a path."""
    places = [(frame.f_globals.get("__name__", "?"), frame.f_code.co_name, line) for frame, line in task.iter_await_frames()]
    ours = [place for place in places if place[0].startswith(PACKAGE)]
    for module, function, line in reversed(ours or places):
        return f"{module}:{line} {function}"
    return ""
