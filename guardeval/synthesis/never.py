"""What is never generated, whatever the flags: anything sexual about a person under 18.

Three nets, each sufficient by itself: seeds of the policy are left out, no kind ever targets it, and a text that a verifier
assigns to it, or that the words here flag, is dropped before it is kept anywhere. The words are chosen to drop too much
rather than too little: a text that speaks of minors and of sex at all is not worth its risk as a training row.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from guardeval.policies import Policy, PolicySet, load_policies

__all__ = ["FORBIDDEN", "asked_policies", "is_flagged", "is_forbidden", "names_forbidden"]

FORBIDDEN = "sexual_minors"
_NAME = re.compile(r"minor|child|csam|csea|csae|under_?age|p(a)?edo|loli|teen|grooming|juvenile")
_ALONE = re.compile(
    r"\b(csam|csem|csea|c[hp] (pics?|vids?|videos?|links?)|cheese pizza|kiddie porn|(child|kid|kiddy) ?porn\w*|"
    r"p(a)?ed(o|oph\w*)|lolis?|lolicon\w*|shotas?|shotacon\w*|jail ?bait|preteens? (models?|nudes?)|"
    r"minor attracted|child (lovers?|erotica|sexual abuse|molest\w*)|hebephil\w*|ephebophil\w*)\b"
)
_MINOR = re.compile(
    r"\b(minors?|child|children|childs|kids?|kiddo|kiddies?|infants?|toddlers?|bab(y|ies)|newborns?|teens?|teenage\w*|"
    r"pre ?teens?|tweens?|under ?age\w*|(school|young|little|small) ?(girls?|boys?|ones?|sisters?|brothers?|daughters?|sons?)|"
    r"schoolgirls?|schoolboys?|students?|pupils?|juveniles?|adolescen\w*|pubert\w*|pubescen\w*|prepubescen\w*|youngsters?|"
    r"daughters?|nieces?|nephews?|grand(daughter|son)s?|step ?(daughter|son)s?|(girl|boy) scouts?|lol[il]ta\w*|"
    r"(middle|elementary|primary|high) ?school\w*|\w+ graders?|kindergart\w*|freshman|barely legal|not (yet )?18|"
    r"(under|below|younger than) (18|eighteen|seventeen|sixteen|fifteen|fourteen|thirteen|twelve|1[0-7]|[1-9])|"
    r"(aged?|turn(s|ed|ing)?|only|just) (of )?(1[0-7]|[1-9])|(1[0-7]|[1-9]) ?(y ?o|yrs?|years?)( old)?|(1[0-7]|[1-9])[fm]|"
    r"(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(thir|four|fif|six|seven)teen) years? old)\b"
)
_SEXUAL = re.compile(
    r"\b(sex\w*|porn\w*|erotic\w*|nud(e|es|ity|ist\w*)|naked\w*|undress\w*|underwear|lingerie|bikini\w*|hentai|smut\w*|nsfw|"
    r"fetish\w*|kink\w*|masturbat\w*|orgasm\w*|intercourse|incest\w*|molest\w*|rap(e|es|ed|ing|ist|ists)|fondl\w*|grop(e|es|ed|ing)|"
    r"groom(ed|ing|er|ers)?|arous\w*|lust\w*|seduc\w*|sensual\w*|intimate\w*|intimacy|stripp?(ed|ing|er|tease)?|topless|"
    r"genital\w*|penis\w*|vagina\w*|breasts?|virgin\w*|blow ?jobs?|lewd\w*|horny|make out|making out|hook ?up|"
    r"touch(es|ed|ing)? (her|him|them|me|herself|himself|a|the|my|inappropriately)|sleep(s|ing)? with|r34|rule 34|onlyfans|"
    r"camgirls?|escorts?|prostitut\w*|brothels?|trafficking|dick|cock|pussy|fuck\w*)\b"
)
_LEET = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i", "|": "i"})
_LOOKALIKES = str.maketrans("аеіорсухѕјԁһӏαεικορτυνсκмт", "aeiopcyxsjdhlaeikoptuvckmt")
_INSIDE = re.compile(r"(?<=\w)['’`.\-_*~^]+(?=\w)")
_SPELT_OUT = re.compile(r"\b(?:\w[\s.\-_*]+){2,}\w\b")


def is_forbidden(policy: str) -> bool:
    """Whether a policy's name says that it is about minors: the built-in one, or a user's own by another name."""
    return policy == FORBIDDEN or _NAME.search(policy) is not None


def names_forbidden(policies: Iterable[str]) -> bool:
    return any(map(is_forbidden, policies))


def asked_policies(policies: PolicySet) -> PolicySet:
    """The policies that verifiers judge by: a set that lacks the built-in policy gets it, so that they can name it."""
    if FORBIDDEN in policies.names:
        return policies
    own: tuple[Policy, ...] = load_policies("minimal").only(FORBIDDEN).policies
    return PolicySet(policies.source, (*policies.policies, *own))


def is_flagged(text: str) -> bool:
    """Whether the words of a text come near: read as written, and with disguised spellings undone."""
    return any(_ALONE.search(t) or (_MINOR.search(t) and _SEXUAL.search(t)) for t in _readings(text))


def _readings(text: str) -> Iterable[str]:
    """Lower-cased words, without accents and invisible characters: as they stand, with look-alike digits and letters
    replaced, and with letters that stand apart put together."""
    folded = unicodedata.normalize("NFKD", text).lower().translate(_LOOKALIKES)
    plain = "".join(
        c for c in folded if (not unicodedata.combining(c) and unicodedata.category(c) not in ("Cf", "Cc")) or c in "\n\t "
    )
    joined = _INSIDE.sub("", plain)
    for one in dict.fromkeys((plain, joined, _together(plain), _together(joined))):
        yield _words(one)
        yield _words(one.translate(_LEET))


def _together(text: str) -> str:
    return _SPELT_OUT.sub(lambda match: re.sub(r"[\s.\-_*]+", "", match[0]), text)


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.replace("_", " ")))
