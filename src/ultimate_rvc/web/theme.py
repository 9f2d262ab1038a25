"""How the page looks: our own fonts, spacing and colours, dark and light."""

from __future__ import annotations

from pathlib import Path

from gradio.themes import Base
from gradio.themes.utils import colors, sizes

STYLE = Path(__file__).parent / "style.css"
HEAD_FILE = Path(__file__).parent / "head.html"
SCRIPTS = ("sound.js", "mixer.js", "page.js", "live.js")

# A teal that keeps a contrast of 4.5 with white text, and a neutral with a little of it.
TEAL = colors.Color(
    name="urvc",
    c50="#effaf8", c100="#d3f1ec", c200="#a9e3da", c300="#74cfc3", c400="#40b3a7",
    c500="#1f978c", c600="#0f766e", c700="#115e59", c800="#134e4a", c900="#123f3c", c950="#062826",
)  # fmt: skip
STONE = colors.Color(
    name="urvc-stone",
    c50="#f7f8f8", c100="#eef0f1", c200="#dfe3e5", c300="#c3cacd", c400="#98a2a6",
    c500="#6b767b", c600="#50595e", c700="#3b4347", c800="#262c2f", c900="#181c1e", c950="#0e1112",
)  # fmt: skip
# No font is fetched: each system's own, with the Chinese and Japanese ones of macOS, Windows and Linux. A browser
# takes the first that has a letter; for letters that differ by country, ``style.css`` puts the page's own first.
FONTS = (
    "Inter", "ui-sans-serif", "system-ui", "PingFang TC", "Microsoft JhengHei", "Noto Sans CJK TC",
    "Noto Sans TC", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", "Hiragino Sans",
    "Yu Gothic UI", "Noto Sans CJK JP", "Noto Sans JP", "sans-serif",
)  # fmt: skip
MONO_FONTS = ("ui-monospace", "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", "monospace")


def page_scripts() -> str:
    """What runs on every page once Gradio is there."""
    return "".join(
        f"<script>{(HEAD_FILE.parent / name).read_text(encoding='utf-8')}</script>" for name in SCRIPTS
    )


def make_theme() -> Base:
    """The theme; what it cannot say is in ``style.css``."""
    theme = Base(
        primary_hue=TEAL,
        secondary_hue=TEAL,
        neutral_hue=STONE,
        spacing_size=sizes.spacing_md,
        radius_size=sizes.radius_md,
        text_size=sizes.text_md,
        font=FONTS,
        font_mono=MONO_FONTS,
    )
    return theme.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        background_fill_primary_dark="*neutral_900",
        background_fill_secondary_dark="*neutral_950",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_color="*neutral_200",
        block_border_color_dark="*neutral_800",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_label_text_weight="600",
        block_title_text_weight="600",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        input_background_fill="*neutral_50",
        input_background_fill_dark="*neutral_800",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        button_large_text_weight="650",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
    )
