"""What is said and sung on the quality bench: written for it, in the public domain, never trained on.

Plain words without numerals, contractions and names, so that a word error is an error of the voice and
not of spelling. Eight sentences make a block; each source voice speaks a block of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

BLOCK = 8
SENTENCES = (
    "The old gate was painted green last summer.",
    "A farmer walked slowly across the muddy field.",
    "We could hear thunder behind the distant hills.",
    "She keeps her letters in a small wooden box.",
    "My brother repairs watches in a shop by the station.",
    "The children built a bridge of branches and stones.",
    "Please leave the window open until the rain begins.",
    "Nobody remembered where the spare key was hidden.",
    "The train was late because of snow on the tracks.",
    "He poured the coffee and sat down without a word.",
    "Fresh bread smells best early in the morning.",
    "Our neighbor grows tomatoes along the garden wall.",
    "The museum closes an hour before sunset.",
    "They carried the piano up three flights of stairs.",
    "A grey cat was sleeping on top of the bookshelf.",
    "You should drink some water before the long walk.",
    "The captain studied the map by the light of a lamp.",
    "Every evening the harbor fills with fishing boats.",
    "I forgot to mention that the meeting was moved.",
    "The judge asked the witness to speak more clearly.",
    "Yellow leaves were floating down the quiet river.",
    "This jacket is too thin for such a cold wind.",
    "The doctor told him to rest for a few days.",
    "Someone had drawn a large circle in the sand.",
    "The library gave away books that nobody borrowed.",
    "After dinner we usually play cards or listen to music.",
    "An owl called twice from somewhere in the forest.",
    "The teacher explained how a shadow measures time.",
    "She stayed calm although the news was bad.",
    "The path turns left at the foot of the mountain.",
    "We bought apples, cheese, and a jar of dark honey.",
    "The young driver stopped to let the ducks pass.",
    "His uncle used to sell umbrellas at the market.",
    "The roof leaks whenever the storm comes from the west.",
    "It took us all afternoon to clean the kitchen.",
    "The painter mixed blue and white to make the sky.",
    "A thick fog covered the village before dawn.",
    "They laughed so hard that the whole room joined in.",
    "The engine made a strange noise and then went silent.",
    "Put the blanket over the chair next to the fire.",
    "Few people know how deep this lake really is.",
    "The singer thanked the crowd and left the stage.",
    "I would rather travel by boat than by plane.",
    "The puppy chased its own tail around the yard.",
    "Most of the houses here were built of red brick.",
    "The nurse opened the curtains to let in the sun.",
    "Both sisters learned to swim in the same pond.",
    "The mail arrives later when the roads are icy.",
)


@dataclass(frozen=True)
class Phrase:
    """A sung line: ``pitches`` (MIDI, for a man) and ``beats`` hold one entry for each syllable."""

    text: str
    pitches: tuple[int, ...]
    beats: tuple[float, ...]


BEAT_SECONDS = 0.6
PHRASES = (
    Phrase(
        "carry the lantern over the hill",
        (48, 50, 52, 55, 53, 52, 50, 52, 48),
        (0.5, 0.5, 0.5, 1, 0.5, 1, 0.5, 0.5, 2),
    ),
    Phrase(
        "follow the silver road to the sea",
        (57, 60, 60, 64, 62, 60, 59, 57, 57),
        (0.5, 0.5, 0.5, 1, 0.5, 1.5, 0.5, 0.5, 2),
    ),
    Phrase(
        "hear how the bells are ringing tonight",
        (51, 53, 55, 58, 56, 55, 53, 51, 50),
        (1, 0.5, 0.5, 1, 0.5, 1, 0.5, 0.5, 2),
    ),
    Phrase(
        "summer will never leave us alone",
        (57, 55, 52, 53, 55, 60, 59, 57, 55),
        (0.5, 0.5, 0.5, 1, 0.5, 1, 0.5, 0.5, 2),
    ),
    Phrase(
        "dreams are the boats that carry me home",
        (54, 57, 57, 61, 59, 57, 56, 54, 49),
        (1, 0.5, 0.5, 1, 0.5, 0.5, 0.5, 0.5, 2.5),
    ),
)


@dataclass(frozen=True)
class Excerpt:
    """A stretch of a recording and what is said in it."""

    file: str
    start: float
    end: float
    text: str


# Recordings of people inside the package moonshine-voice 0.1.5: times in seconds, words by their authors
# (Dickens, A Tale of Two Cities; Beckett, Worstward Ho). Left out: the first sentence of Dickens, with which
# the starter voices train; one recording of which nobody tells what is said; and a dialogue whose pauses
# are digitally silent, hence no recording.
TWO_CITIES, WORSTWARD = "two_cities.wav", "beckett.wav"
EXCERPTS = (
    Excerpt(TWO_CITIES, 4.80, 8.50, "It was the age of wisdom, it was the age of foolishness."),
    Excerpt(TWO_CITIES, 8.50, 13.10, "It was the epoch of belief, it was the epoch of incredulity."),
    Excerpt(TWO_CITIES, 13.10, 17.10, "It was the season of light, it was the season of darkness."),
    Excerpt(TWO_CITIES, 17.10, 20.85, "It was the spring of hope, it was the winter of despair."),
    Excerpt(TWO_CITIES, 20.85, 24.30, "We had everything before us, we had nothing before us."),
    Excerpt(
        TWO_CITIES,
        24.30,
        28.70,
        "We were all going direct to heaven, we were all going direct the other way.",
    ),
    Excerpt(TWO_CITIES, 28.70, 32.50, "In short, the period was so far like the present period,"),
    Excerpt(
        TWO_CITIES, 32.50, 36.70, "that some of its noisiest authorities insisted on its being received,"
    ),
    Excerpt(TWO_CITIES, 36.70, 42.20, "for good or for evil, in the superlative degree of comparison only."),
    Excerpt(WORSTWARD, 0.00, 4.85, "Ever tried. Ever failed. No matter."),
    Excerpt(WORSTWARD, 4.85, 9.90, "Try again. Fail again. Fail better."),
)
