"""Facts of nine relations: of countries, and of English words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nissl.specimens.fetch import fetch
from nissl.specimens.texts import countries_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

__all__ = ["relations"]

# How each relation is asked, with the subject in the braces. Examples lead a base model, which
# follows no instructions; what they give away is not asked.
PROMPTS = {
    "capital": "The capital of France is Paris, and the capital of {} is",
    "language": "The official language of {} is",
    "continent": "Kenya, Africa; Japan, Asia; {},",
    "plural": "one cat, two cats; one {}, two",
    "past": "help, helped; speak, spoke; {},",
    "participle": "help, helping; speak, speaking; {},",
    "comparative": "old, older; large, larger; good, better; {},",
    "superlative": "old, oldest; large, largest; good, best; {},",
    "opposite": "hot, cold; up, down; {},",
}

# A word and what stands in the relation to it; what follows a rule is made by it.
REGULAR_NOUNS = (
    "dog cat book car house tree river mountain flower table chair door window bird horse cow "
    "computer phone song lesson picture garden street village school teacher student doctor "
    "king queen apple banana orange egg cup plate spoon clock hand finger leg ear eye shoe hat "
    "shirt boat train plane road bridge island planet star cloud"
)
IRREGULAR_NOUNS = (
    "man/men woman/women child/children foot/feet tooth/teeth mouse/mice goose/geese "
    "person/people leaf/leaves knife/knives wolf/wolves life/lives wife/wives city/cities "
    "baby/babies lady/ladies country/countries story/stories box/boxes bus/buses "
    "church/churches glass/glasses"
)
VERBS = (
    "go/went/going see/saw/seeing take/took/taking give/gave/giving come/came/coming "
    "write/wrote/writing run/ran/running eat/ate/eating drink/drank/drinking sing/sang/singing "
    "swim/swam/swimming begin/began/beginning know/knew/knowing grow/grew/growing "
    "throw/threw/throwing fly/flew/flying draw/drew/drawing speak/spoke/speaking "
    "break/broke/breaking choose/chose/choosing drive/drove/driving ride/rode/riding "
    "rise/rose/rising fall/fell/falling find/found/finding think/thought/thinking "
    "buy/bought/buying bring/brought/bringing teach/taught/teaching catch/caught/catching "
    "sleep/slept/sleeping keep/kept/keeping feel/felt/feeling leave/left/leaving "
    "lose/lost/losing build/built/building send/sent/sending make/made/making say/said/saying "
    "tell/told/telling sell/sold/selling stand/stood/standing hold/held/holding win/won/winning "
    "sit/sat/sitting meet/met/meeting pay/paid/paying hear/heard/hearing wear/wore/wearing "
    "forget/forgot/forgetting walk/walked/walking play/played/playing help/helped/helping "
    "work/worked/working open/opened/opening call/called/calling look/looked/looking "
    "ask/asked/asking move/moved/moving love/loved/loving live/lived/living jump/jumped/jumping"
)
ADJECTIVES = (
    "big/bigger/biggest small/smaller/smallest fast/faster/fastest slow/slower/slowest "
    "tall/taller/tallest short/shorter/shortest long/longer/longest strong/stronger/strongest "
    "weak/weaker/weakest high/higher/highest low/lower/lowest old/older/oldest "
    "young/younger/youngest hot/hotter/hottest cold/colder/coldest warm/warmer/warmest "
    "cool/cooler/coolest dark/darker/darkest bright/brighter/brightest light/lighter/lightest "
    "heavy/heavier/heaviest happy/happier/happiest sad/sadder/saddest easy/easier/easiest "
    "hard/harder/hardest soft/softer/softest loud/louder/loudest quiet/quieter/quietest "
    "rich/richer/richest poor/poorer/poorest clean/cleaner/cleanest dirty/dirtier/dirtiest "
    "deep/deeper/deepest wide/wider/widest narrow/narrower/narrowest thick/thicker/thickest "
    "thin/thinner/thinnest smart/smarter/smartest kind/kinder/kindest brave/braver/bravest "
    "sweet/sweeter/sweetest fresh/fresher/freshest large/larger/largest near/nearer/nearest "
    "new/newer/newest safe/safer/safest simple/simpler/simplest sharp/sharper/sharpest "
    "early/earlier/earliest late/later/latest funny/funnier/funniest good/better/best "
    "bad/worse/worst far/farther/farthest"
)
OPPOSITES = (
    "hot/cold big/small up/down left/right good/bad light/dark day/night black/white "
    "open/closed full/empty rich/poor young/old happy/sad fast/slow high/low wet/dry hard/soft "
    "strong/weak clean/dirty early/late love/hate war/peace life/death true/false right/wrong "
    "yes/no always/never everything/nothing inside/outside above/below before/after first/last "
    "begin/end start/stop win/lose buy/sell give/take push/pull come/go laugh/cry north/south "
    "east/west summer/winter man/woman boy/girl king/queen brother/sister father/mother "
    "husband/wife son/daughter friend/enemy heaven/hell sweet/sour thick/thin wide/narrow "
    "long/short near/far"
)


def relations() -> pd.DataFrame:
    """Return facts of nine relations, a fact a row.

    Returns
    -------
    DataFrame
        ``text`` (a prompt that the answer goes on), ``answer`` (with the space before it),
        ``relation``, ``subject`` (what the fact is about) and ``fact`` (its number).

    Raises
    ------
    NisslError
        The countries cannot be fetched (they come from npm).

    Examples
    --------
    >>> relations().iloc[0][["text", "answer"]].tolist()  # doctest: +SKIP
    ['The capital of France is Paris, and the capital of Aruba is', ' Oranjestad']

    Source: world-countries 5.1.0 (ODbL-1.0); the words are ours.
    """
    import pandas as pd

    rows = [
        (PROMPTS[relation].format(subject), f" {answer}", relation, subject)
        for relation, subject, answer in [*_of_countries(), *_of_words()]
        if not re.search(rf"\b{re.escape(subject)}\b", PROMPTS[relation])
    ]
    table = pd.DataFrame(rows, columns=["text", "answer", "relation", "subject"])
    return table.assign(fact=range(len(table)))


def _of_countries() -> Iterator[tuple[str, str, str]]:
    table = countries_in(fetch("relations"))
    for name, capital in zip(table["title"], table["capital"], strict=True):
        # A capital named after its country is answered by repeating the question.
        if capital and name.split()[0] not in capital and capital.split()[0] not in name:
            yield "capital", name, capital.split(";")[0]
    for name, spoken in zip(table["title"], table["languages"], strict=True):
        if spoken and ";" not in spoken:
            yield "language", name, spoken
    parts = zip(table["title"], table["region"], table["subregion"], strict=True)
    for name, region, subregion in parts:
        if region in ("Africa", "Asia", "Europe"):
            yield "continent", name, region
        elif subregion == "South America":
            yield "continent", name, subregion


def _of_words() -> Iterator[tuple[str, str, str]]:
    for noun in REGULAR_NOUNS.split():
        yield "plural", noun, noun + "s"
    for noun, many in (pair.split("/") for pair in IRREGULAR_NOUNS.split()):
        yield "plural", noun, many
    for verb, past, participle in (triple.split("/") for triple in VERBS.split()):
        yield "past", verb, past
        yield "participle", verb, participle
    for adjective, more, most in (triple.split("/") for triple in ADJECTIVES.split()):
        yield "comparative", adjective, more
        yield "superlative", adjective, most
    for word, other in (pair.split("/") for pair in OPPOSITES.split()):
        yield "opposite", word, other
