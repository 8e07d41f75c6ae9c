"""What a secret looks like: by the name it goes under, and by its own form."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["REDACTED", "has_secret", "is_secret_key", "redact_text"]

REDACTED = "<redacted>"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# Matched against the words of a name, joined by spaces: "hfToken" is "hf token".
_SECRET_NAME = re.compile(
    r"""\b(?:
        (?:db|mysql|pg)?passw(?:or)?d
      | pwd | pass\ ?(?:word|phrase) | secrets? | credentials? | cookies? | apikeys?
      | auth | authorization | connection\ string
      | (?:api|private|access) \ keys?
      | (?:account|encryption|signing|ssh) \ key
    )\b""",
    re.VERBOSE,
)
# "token" alone says little in this field (cls_token, pad_token); what stands before it decides.
_TOKEN_NAME = re.compile(
    r"""(?:^|\b(?:
        access | api | auth | aws | azure | bearer | bot | csrf | gcp | gh | github | gitlab
      | google | hf | hub | huggingface | id | identity | jwt | login | ngc | oauth | openai
      | personal | refresh | registry | security | session | sas | slack | telegram | user
      | wandb | webhook
    )\ )token$""",
    re.VERBOSE,
)

_FORMS = re.compile(
    r"""
    -----BEGIN\ [A-Z0-9 ]*PRIVATE\ KEY-----(?:.*?-----END\ [A-Z0-9 ]*PRIVATE\ KEY-----|.*)
    | (?<![A-Za-z0-9])(?:
        (?:AKIA|ASIA)[A-Z0-9]{16}                       # AWS access key
      | gh[oprsu]_[A-Za-z0-9]{20,} | github_pat_\w{20,} # GitHub
      | glpat-[\w-]{20,}                                # GitLab
      | hf_[A-Za-z0-9]{20,}                             # Hugging Face
      | sk-(?=[\w-]{0,200}\d)[\w-]{16,}                 # OpenAI and its like
      | (?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}        # Stripe
      | xox[abeoprs]-[A-Za-z0-9-]{10,}                  # Slack
      | AIza[\w-]{35}                                   # Google
      | pypi-[\w-]{50,} | npm_[A-Za-z0-9]{36}           # package registries
      | (?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*    # JSON web token
    )
    | (?<=[Bb]earer\ )[A-Za-z0-9._~+/=-]{16,}
    | (?<=[Aa]uthorization:\ Basic\ )[A-Za-z0-9+/=]{8,}
    | (?:(?<=X-Amz-Signature=)|(?<=X-Goog-Signature=)|(?<=[?&]sig=))[\w%+/=-]{16,}  # signed URLs
    | (?<=://)[^\s/:@'"]*:[^\s/@'"]+(?=@)               # user:password in a URL
    | (?<=://)[^\s/:@'"]{16,}(?=@)                      # a token as the user of a URL
    """,
    re.VERBOSE | re.DOTALL,
)


# A literal given to a name: name = "value", name: value, --name value, NAME=value. A value that is
# code (a call, a lookup, a name) tells no secret, so an unquoted one needs a digit. A search begins
# once in each run of words and dashes, or a long one would take the square of its length.
_GIVEN = re.compile(
    r"""(?<![\w-])[\d-]*(?P<name>[A-Za-z_][\w-]*)(?:["']?\s*[:=]\s*|["',]*\s+)
        (?P<value>"[^"\n]{3,}" | '[^'\n]{3,}' | (?=[\w/+-]*\d)[\w/+-]{6,}(?![\w.(\[]))""",
    re.VERBOSE,
)


def is_secret_key(key: str) -> bool:
    """Whether what goes under a name is secret: ``api_key`` and ``hfToken``, not ``num_tokens``."""
    words = " ".join(_WORDS.findall(key)).lower()
    return bool(_SECRET_NAME.search(words) or _TOKEN_NAME.search(words))


def redact_text(text: str) -> str:
    """Replace whatever has the form of a secret, or is given to a name that says so."""
    return "".join(_without_given(_FORMS.sub(REDACTED, text)))


def _without_given(text: str) -> Iterator[str]:
    """The text in parts; within the value of a plain name, too, a secret may be given."""
    done = position = 0
    while match := _GIVEN.search(text, position):
        position = match.end("name")
        if is_secret_key(match["name"]):
            yield text[done : match.start("value")] + REDACTED
            done = position = match.end()
    yield text[done:]


def has_secret(text: str) -> bool:
    """Whether something in a text is a secret, as for `redact_text`."""
    return redact_text(text) != text
