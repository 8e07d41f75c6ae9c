import mimetypes

from hypothesis import given, settings
from hypothesis import strategies as st

from tt_cloud._attributes import attributes_of, callers, guessed_type
from tt_cloud._content import opened

NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)
TEXTS = (
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
    .map(str.strip)
    .filter(bool)
)


@settings(deadline=None)
@given(st.dictionaries(NAMES.filter(lambda name: not name.startswith("tt-")), TEXTS, max_size=5))
def test_own_entries_go_beside_the_callers(entries: dict[str, str]) -> None:
    with opened(b"data", None) as content:
        attributes = attributes_of("key", content, entries, None)
    assert callers(attributes.metadata) == entries
    own = {name for name in attributes.metadata if name.startswith("tt-")}
    assert own == {"tt-sha256", "tt-upload"}
    for name, text in attributes.metadata.items():
        f"{name}: {text}".encode("ascii")
        assert text == text.strip()


@settings(deadline=None)
@given(st.sampled_from(sorted(mimetypes.MimeTypes(()).types_map[True])), st.booleans())
def test_the_type_is_what_the_ending_tells(ending: str, upper: bool) -> None:
    expected, _ = mimetypes.MimeTypes(()).guess_type("name" + ending)
    key = "folder.d/name" + (ending.upper() if upper else ending)
    assert guessed_type(key) == expected


def test_what_is_packed_is_not_what_it_holds() -> None:
    assert guessed_type("page.html.gz") == "application/gzip"
    assert guessed_type("html") == "application/octet-stream"
