"""The two ways in which a command of this package fails, each one line to its user."""

from numbers import Integral


class _OneLine(Exception):
    """An error of which a notebook shows its message, and not the way through the package."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for it
        return [f"{type(self).__name__}: {self}"]


class InputError(_OneLine, ValueError):
    """What the user asked for cannot be done: the message says what, why and what to do.

    The command line prints it on one line of stderr and exits with 2, before any long work.
    """


class FailureError(_OneLine, RuntimeError):
    """What was asked for was legal and failed on the way: one line of stderr, exit 1."""


def shown(value: object) -> str:
    """A value as an error names it, cut to 40 characters: what was typed may be endless."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write an integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 40 else f"{text[:39]}…"


def check_whole(name: str, value: object, most: int, why: str) -> None:
    """Refuses anything but a whole number from 1 to `most`, and says why it ends there.

    Raises:
        InputError: one line that names the bounds.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not (whole and 1 <= value <= most):  # type: ignore[operator]
        raise InputError(
            f"{name} must be a whole number from 1 to {most} ({why}), got {shown(value)}"
        )
