"""What a programmer would write instead of training: regular expressions.

The baseline that a tuned model has to beat. Written with the training rows and the
guide of the data sheet at hand, never with the held-out ones.
"""

from __future__ import annotations

import re

from course_utils.projects.search.query import Query

_GENRES = {
    "action": "action",
    "adventure": "adventures?",
    "animation": r"animations?|animated|cartoons?|anime",
    "comedy": r"comed(?:y|ies)|rom-?coms?",
    "crime": "crime",
    "documentary": r"documentar(?:y|ies)|docs?|docus?",
    "drama": "dramas?",
    "family": r"family (?:film|movie)s?|family",
    "fantasy": "fantasy",
    "history": r"histor(?:y|ical)|period piece",
    "horror": "horrors?",
    "music": r"music|musicals?",
    "mystery": r"myster(?:y|ies)|whodunn?its?",
    "romance": r"romances?|romantic|love stor(?:y|ies)|rom-?coms?",
    "science fiction": r"sci-?fi|sci fi|science[- ]fiction|sf",
    "sport": r"sports?",
    "thriller": "thrillers?",
    "war": "war",
    "western": "westerns?",
}
_NO = (
    r"(?:\bno|\bnot an?|\bnothing|\bwithout(?: any)?|\bexcept(?: for)?|\bhates?"
    r"|\banything but(?: an?)?|\bcan.?t stand|\bzero|\bminus|\bskip the|\bnever"
    r"|\bnor|\bisn.?t an?|\bno more|\bother than(?: an?)?|\bsick of|\btired of)\s+"
)
_WORDS = {
    r"\b(?:an )?hour and a half|\bone and a half hours": "90 minutes",
    r"\btwo and a half[- ]hours?|\btwo hours and a half": "150 minutes",
    r"\bthree and a half[- ]hours?": "210 minutes",
    r"\b(?:an |one )?hour (?:and )?(?:fifteen|a quarter)\b": "75 minutes",
    r"\b(?:an |one )?hour (?:and )?twenty\b": "80 minutes",
    r"\b(?:an |one )?hour (?:and )?(?:forty[- ]five|three quarters)\b": "105 minutes",
    r"\b(?:an |one )?hour (?:and )?forty\b": "100 minutes",
    r"\b(?:an |one )?hour (?:and )?fifty\b": "110 minutes",
    r"\btwo hours (?:and )?ten\b": "130 minutes",
    r"\btwo hours (?:and )?(?:fifteen|a quarter)\b": "135 minutes",
    r"\bhalf an hour\b": "30 minutes",
    r"\b(?:an|one|the) hour\b": "60 minutes",
    r"\btwo[- ]hours?\b": "120 minutes",
    r"\bthree[- ]hours?\b": "180 minutes",
    r"\bfour[- ]hours?\b": "240 minutes",
    r"\bninety\b": "90",
    r"\btwenties\b": "1920s",
    r"\bthirties\b": "1930s",
    r"\bforties\b": "1940s",
    r"\bfifties\b": "1950s",
    r"\bsixties\b": "1960s",
    r"\bseventies\b": "1970s",
    r"\beighties\b": "1980s",
    r"\bnineties\b": "1990s",
    r"(?<!\d)['’]?([3-9]0)['’]?s\b": r"19\1s",
}
_AMOUNT = r"(\d{2,3})(?: ?(?:minutes?|mins?|min|m)\b)?"
_YEAR = r"((?:1[89]|20)\d\d)"
_NO_FILM = (
    r"\b(?:recipe|translate|capital of|who (?:directed|wrote|played|composed)|weather"
    r"|how (?:do|can|long|many|much)|what year|python|email|invoice|password|\d+ ?[*x]"
    r"|convert|spell|poem|summari[sz]e|explain|grammar|when (?:was|did))\b"
)


def search_by_pattern(request: str) -> Query:
    """The query that regular expressions read out of a request."""
    text = request.casefold().replace("’", "'")
    if not re.search(r"\w", text) or re.search(_NO_FILM, text):
        return Query(no_wish=True)
    for pattern, plain in _WORDS.items():
        text = re.sub(pattern, plain, text)
    text = re.sub(r"\b(\d) ?h(?:ours?|rs?)? ?(\d\d)?\b", _in_minutes, text)
    return Query.model_validate(_genres(text) | _minutes(text) | _years(text))


def _in_minutes(found: re.Match[str]) -> str:
    return f"{60 * int(found[1]) + int(found[2] or 0)} minutes"


def _genres(text: str) -> dict[str, list]:
    asked, ruled_out = {}, {}
    for genre, names in _GENRES.items():
        if found := re.search(rf"{_NO}(?:\w+ (?:or|and|,) )?(?:{names})\b", text):
            ruled_out[genre] = found.start()
        elif found := re.search(rf"\b(?:{names})\b", text):
            asked[genre] = found.start()
    in_order = [sorted(found, key=found.__getitem__) for found in (asked, ruled_out)]
    return dict(zip(("genres", "not_genres"), in_order, strict=True))


def _minutes(text: str) -> dict[str, int]:
    if found := re.search(rf"\b(?:between )?{_AMOUNT} ?(?:and|to|-) ?{_AMOUNT}", text):
        return {"min_minutes": int(found[1]), "max_minutes": int(found[2])}
    bounds = {
        (
            "max_minutes",
            -1,
        ): r"(?:under|less than|shorter than|below|before) (?:an? )?{}",
        ("max_minutes", 0): r"(?:at most|max(?:imum|\.)?|up to|no (?:longer|more) than"
        r"|not (?:longer|more) than|nothing (?:longer|over)|within|inside) (?:of )?{}"
        r"|{} ?(?:max\b|at (?:the )?most|or (?:less|shorter|under)|tops|maximum)",
        ("min_minutes", 1): r"(?<!nothing )(?:over|more than|longer than|above) {}",
        (
            "min_minutes",
            0,
        ): r"(?:at least|min(?:imum)?|no (?:less|shorter) than|from) {}"
        r"|{} ?(?:at least|or (?:more|longer|over)|plus|\+|minimum|and up)",
    }
    return _bounds(text, bounds, rf"(?<!\d){_AMOUNT}(?!\d)")


def _years(text: str) -> dict[str, int]:
    if found := re.search(rf"between {_YEAR}s? and {_YEAR}(s?)", text):
        return {
            "year_min": int(found[1]),
            "year_max": int(found[2]) + 9 * bool(found[3]),
        }
    bounds = {
        ("year_max", -1): r"(?:not after|before|older than|pre-?) ?(?:the )?{}",
        ("year_max", 0): r"(?:until|up to|no later than|not later than|by) {}"
        r"|{} or (?:earlier|older|before)",
        ("year_min", 1): r"(?<!not )(?:after|newer than|post-?) ?{}",
        ("year_min", 0): r"(?:since|from|not before|not older than) (?:the )?{}s? "
        r"(?:on|onwards?|or later|and later)|since (?:the )?{}|not older than {}"
        r"|{}s? (?:or|and) (?:later|newer|younger|after)|{} onwards?|not before {}",
    }
    if found := _bounds(text, bounds, _YEAR):
        return found
    if found := re.search(rf"{_YEAR}s\b", text):
        return {"year_min": int(found[1]), "year_max": int(found[1]) + 9}
    if found := re.search(rf"(?:from|in|of) {_YEAR}\b", text):
        return {"year_min": int(found[1]), "year_max": int(found[1])}
    return {}


def _bounds(text: str, bounds: dict[tuple[str, int], str], number: str) -> dict:
    """Each bound whose words stand beside a number; the first one of a field counts."""
    held: dict[str, int] = {}
    for (field, offset), words in bounds.items():
        if found := re.search(words.replace("{}", number), text):
            value = next(int(group) for group in found.groups() if group)
            held.setdefault(field, value + offset)
    return held
