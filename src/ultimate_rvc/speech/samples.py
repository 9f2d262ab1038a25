"""A short text for a speaker to be heard by, in the speaker's language."""

from __future__ import annotations

ENGLISH = "Good morning! This is how I read: clearly, and at an easy pace."
SENTENCES = {
    "cmn": "早安！我就是這樣朗讀的：清楚，而且不慌不忙。",  # noqa: RUF001
    "de": "Guten Morgen! So lese ich vor: deutlich und in aller Ruhe.",
    "en": ENGLISH,
    "es": "¡Buenos días! Así leo yo: con claridad y sin prisa.",
    "fr": "Bonjour ! Voici comment je lis : clairement et sans hâte.",
    "it": "Buongiorno! Ecco come leggo: con chiarezza e senza fretta.",
    "ja": "おはようございます。はっきりと、ゆっくり読みます。",
    "ko": "안녕하세요! 저는 이렇게 또박또박 천천히 읽습니다.",
    "nl": "Goedemorgen! Zo lees ik voor: duidelijk en rustig.",
    "pt": "Bom dia! É assim que eu leio: com clareza e sem pressa.",
    "ru": "Доброе утро! Вот так я читаю: чётко и не спеша.",
    "zh": "早安！我就是這樣朗讀的：清楚，而且不慌不忙。",  # noqa: RUF001
}


def sample_text(language: str) -> str:
    """What a speaker of ``language`` says; English where there is no sentence in it."""
    return SENTENCES.get(language.lower().partition("-")[0], ENGLISH)
