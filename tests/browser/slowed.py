"""What a move of a range costs on a slow processor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def slowed(page: Any, field: str, event: str = "input", moves: int = 6) -> Callable[[], float]:
    """Slow the page fourfold; what it gives measures seconds a move of a range of six positions.

    Each move has two frames to be drawn in. What the page does without moves is taken off.
    """
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    session.send("Emulation.setCPUThrottlingRate", {"rate": 4})

    def spent() -> float:
        found = session.send("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in found if one["name"] == "TaskDuration"))

    def of(event: str) -> float:
        before = spent()
        page.evaluate(
            """async ([field, event, moves]) => {
              const range = document.querySelector(field);
              const frame = () => new Promise(requestAnimationFrame);
              for (let i = 0; i < moves; i++) {
                range.value = i % 6;
                range.dispatchEvent(new Event(event, { bubbles: true }));
                await frame();
                await frame();
              }
            }""",
            [field, event, moves],
        )
        return (spent() - before) / moves

    return lambda: of(event) - of("nothing")
