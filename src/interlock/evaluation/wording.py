"""Numbers and names as people read them: in sentences, the summary and the report."""

from __future__ import annotations

from math import floor, inf, isnan, log10

from interlock.evaluation.intervals import Interval

LONGEST = 40  # characters of a slice's value that are shown


def name(value: str) -> str:
    """A slice's value on one line, of bounded length, without control characters.

    >>> name("a\\nb")
    'a�b'
    """
    shown = "".join(c if c.isprintable() else "\ufffd" for c in value)
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def percent(value: float, interval: Interval | None = None) -> str:
    """A proportion, with the digits that its interval gives a meaning to.

    >>> percent(0.8951, Interval(0.893, 0.897))
    '89.5 %'
    >>> percent(0.88)
    '88 %'
    """
    if isnan(value):
        return "undefined"
    return f"{_scaled(value, interval)} %"


def points(value: float, interval: Interval | None = None, sign: str = "") -> str:
    """A difference of proportions in points, with its sign if `sign` is "+".

    >>> points(-0.117, Interval(-0.119, -0.114), "+")
    '-11.7'
    """
    return "undefined" if isnan(value) else _scaled(value, interval, sign)


def span(interval: Interval, sign: str = "", share: bool = True) -> str:
    """Both ends in percent or points, or as they are; without the unit.

    >>> span(Interval(0.8934, 0.8966)), span(Interval(0.1, 0.104), "+", share=False)
    ('89.3 to 89.7', '+0.1000 to +0.1040')
    """
    return " to ".join(end(each, interval, sign, share) for each in interval)


def end(number: float, interval: Interval, sign: str = "", share: bool = True) -> str:
    """One end of an interval, without the unit."""
    return (_scaled if share else plain)(number, interval, sign)


def chance(p: float) -> str:
    """A p-value, as far as it matters.

    >>> chance(0.0312), chance(3e-9), chance(1.0)
    ('0.031', 'below 0.0001', '1')
    """
    return "below 0.0001" if p < 0.0001 else f"{p:.2g}"


def plain(value: float, interval: Interval | None = None, sign: str = "") -> str:
    """A number as it is, with two of the digits that its interval is wide.

    >>> plain(0.25117, Interval(0.2481, 0.2543)), plain(1234.5, Interval(1200, 1270))
    ('0.2512', '1234')
    """
    if isnan(value):
        return "undefined"
    if interval is None or not 0 < interval.high - interval.low < inf:
        return f"{value:{sign}.6g}"
    digits = max(0, 1 - floor(log10(interval.high - interval.low)))
    return f"{value:{sign}.{digits}f}"


def value(number: float, interval: Interval | None = None, share: bool = True) -> str:
    """A metric: in percent if it is a share, else as it is."""
    return percent(number, interval) if share else plain(number, interval)


def change(number: float, interval: Interval | None = None, share: bool = True) -> str:
    """A change from production in words.

    >>> change(-0.117), change(0.02, None, share=False)
    ('11.7 points below production', '0.02 above production')
    """
    if share:
        return gain(number, interval)
    if number == 0 or isnan(number):
        return "undefined" if isnan(number) else "equal to production"
    side = "above" if number > 0 else "below"
    return f"{plain(abs(number), interval)} {side} production"


def _scaled(value: float, interval: Interval | None, sign: str = "") -> str:
    if interval is None:
        return f"{100 * value:{sign}.6g}"
    digits = 1 if interval.high - interval.low >= 0.003 else 2
    rounded = round(100 * value, digits)
    return f"{rounded:{sign}.{digits}f}" if rounded else f"{0:.{digits}f}"


def gain(value: float, interval: Interval | None = None) -> str:
    """A gain over production in words.

    >>> gain(-0.117), gain(0.0)
    ('11.7 points below production', 'equal to production')
    """
    if value == 0 or isnan(value):
        return "undefined" if isnan(value) else "equal to production"
    side = "above" if value > 0 else "below"
    return f"{points(abs(value), interval)} points {side} production"
