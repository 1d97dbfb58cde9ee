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
    "comedy": r"comed(?:y|ies)",
    "crime": "crime",
    "documentary": r"documentar(?:y|ies)|docs?|docus?",
    "drama": "dramas?",
    "family": r"family (?:film|movie)s?|family",
    "fantasy": "fantasy",
    "history": r"histor(?:y|ical)|period piece",
    "horror": "horrors?",
    "music": r"music|musicals?",
    "mystery": r"myster(?:y|ies)|whodunn?its?",
    "romance": r"romances?|romantic|love stor(?:y|ies)",
    "science fiction": r"sci-?fi|sci fi|science[- ]fiction|sf",
    "sport": r"sports?",
    "thriller": "thrillers?",
    "war": "war",
    "western": "westerns?",
}
_NO = (
    r"(?:\b(?:no|not|nothing|never|without|except|excluding|minus|zero|skip|nor|hates?"
    r"|isn't|aren't|don't want|can't (?:stand|bear)|anything but|sick of|tired of"
    r"|enough|neither|leave out|spare me|hold|allergic to)"
    r"(?: (?:an?|any|for|with|the|more|of|in|being|another))*) "
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
    r"\b(?:a |one )?hundred minutes\b": "100 minutes",
    r"\bmistery\b": "mystery",
    r"\bbetween (\d) and (\d) hours\b": r"between \1 hours and \2 hours",
    r"\brom-?coms?\b": "romance comedy",
    r"\bnoughties\b": "2000s",
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
_AMOUNT = r"(?<!\d)(\d{2,3})(?: ?(?:minutes?|mins?|min|m)\b\.?)?(?!\d|s\b)"
_YEAR = r"((?:1[89]|20)\d\d)"
_BELOW = r"(?:under|less than|fewer than|shorter than|below|<)"
_ABOVE = r"(?:over|more than|longer than|above|exceeds?|beyond|>)"
_NOT = r"(?:no|not|nothing|never|n't)(?: be| one minute| a minute)?"
_MINUTES = {  # bound, what is added to the number: words beside it
    ("max_minutes", 0): rf"{_NOT} {_ABOVE} {{}}|(?:<=|up to|within|inside|maximum"
    r"|limit (?:is|of)|at (?:the )?(?:very )?most|max\.?) (?:is |of )?{}"
    r"|{},? (?:max\b|at (?:the )?(?:very )?most|or (?:less|shorter|under|fewer|below)"
    r"|tops|maximum|is (?:my|the|our) (?:absolute )?(?:limit|maximum)|and no more)",
    ("min_minutes", 0): rf"{_NOT} {_BELOW} {{}}|(?:>=|at (?:the very )?least|from"
    r"|min(?:imum)?(?: length)?(?: of)?) {}|{},? ?(?:at (?:the very )?least|plus\b|\+"
    r"|or (?:more|longer|over|above)|minimum|and (?:up|more|longer|over))",
    ("max_minutes", -1): rf"(?<!no )(?<!not )(?<!minute ){_BELOW} (?:an? )?{{}}",
    ("min_minutes", 1): rf"(?<!no )(?<!not )(?<!nothing )(?<!never )(?<!n't )(?<!be )"
    rf"(?<!minute ){_ABOVE} {{}}",
}
_OLDER = r"(?:before|earlier than|older than|pre-?)"
_NEWER = r"(?:after|newer than|later than|post-?)"
_YEARS = {
    ("year_min", 0): rf"{_NOT} (?:from )?{_OLDER} ?(?:the )?{{}}|since (?:the )?{{}}"
    r"|from (?:the )?{}s? (?:on|onwards?|or (?:later|newer)|and)|{} onwards?"
    r"|{}s? (?:or|and) (?:later|newer|younger|after|onwards?|up)|{}s?\+"
    r"|starting from {}",
    ("year_max", 0): rf"{_NOT} (?:from )?{_NEWER} ?{{}}|(?:until|up to|by) {{}}"
    r"|{} (?:or|and) (?:earlier|older|before)",
    ("year_max", -1): rf"(?<!no )(?<!not )(?<!nothing )(?<!nothing from ){_OLDER} ?"
    r"(?:the )?{}",
    ("year_min", 1): rf"(?<!no )(?<!not )(?<!nothing ){_NEWER} ?(?:the )?{{}}",
}
_NO_FILM = (
    r"\b(?:recipe|translate|capital of|who (?:directed|wrote|played|composed|won)"
    r"|weather|how (?:do|can|many|long does|was|old)|what (?:year|is the|does)"
    r"|python|email|invoice|password|convert|spell|poem|summari[sz]e|grammar"
    r"|when (?:was|did)|^thank|^hello|^hi there|\bbye|which (?:bus|year))\b"
)


def search_by_pattern(request: str) -> Query:
    """The query that regular expressions read out of a request."""
    text = request.casefold().replace("’", "'")
    if not re.search(r"\w", text) or re.search(_NO_FILM, text):
        return Query(no_wish=True)
    for pattern, plain in _WORDS.items():
        text = re.sub(pattern, plain, text)
    text = re.sub(r"\b(\d)(?:[.](\d))? ?(?:h|hours?|hrs?)\b", _in_minutes, text)
    text = re.sub(r"\b(\d) ?h ?(\d\d)\b", _in_minutes, text)
    return Query.model_validate(_genres(text) | _minutes(text) | _years(text))


def _in_minutes(found: re.Match[str]) -> str:
    rest = found[2] or "0"
    return f"{60 * int(found[1]) + int(rest) * (6 if len(rest) == 1 else 1)} minutes"


def _genres(text: str) -> dict[str, list]:
    asked, ruled_out = {}, {}
    others = "|".join(_GENRES.values())
    for genre, names in _GENRES.items():
        no = rf"{_NO}(?:(?:{others})(?:,| or| and|) (?:an? |no )?)?(?:{names})\b"
        if found := re.search(no, text):
            ruled_out[genre] = found.start()
        if found := re.search(rf"\b(?:{names})\b", re.sub(no, "", text)):
            asked[genre] = found.start()
    in_order = [sorted(found, key=found.__getitem__) for found in (asked, ruled_out)]
    return dict(zip(("genres", "not_genres"), in_order, strict=True))


def _minutes(text: str) -> dict[str, int]:
    if found := re.search(rf"\b{_AMOUNT} ?(?:and|to|-) ?{_AMOUNT}", text):
        return {"min_minutes": int(found[1]), "max_minutes": int(found[2])}
    return _bounds(text, _MINUTES, _AMOUNT)


def _years(text: str) -> dict[str, int]:
    if found := re.search(rf"{_YEAR}s? (?:and|to) {_YEAR}(s?)", text):
        return {
            "year_min": int(found[1]),
            "year_max": int(found[2]) + 9 * bool(found[3]),
        }
    if found := _bounds(text, _YEARS, _YEAR):
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
