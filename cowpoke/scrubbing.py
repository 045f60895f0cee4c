"""Takes secret values out of texts: errors, progress, log lines, files.

One scrubber is bound to each event while it runs (`scrubbing`), and holds every form in which a
secret of the event may be quoted: as it is, escaped, url-encoded, quoted for a shell, in base64.
Outside an event the scrubber of the process applies, which holds the secrets of the settings.
"""

import base64
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import quote, quote_plus, unquote

from pydantic import BaseModel, SecretStr

from cowpoke.secrets import Secret, public_names, secrets_in
from cowpoke.urls import url_logins

MASK = "***"
#: A shorter value is hidden only beside its name or between quotes: `1` is in every text.
LEAST_CHARACTERS = 6
LEAST_PASSWORD_CHARACTERS = 4
#: Of a longer value, the begin is looked for: nothing that leaves an event quotes more.
MOST_VALUE_CHARACTERS = 16 * 1024
#: Values beyond this in one event are looked for in two forms only, which bounds time and memory.
MOST_FORMS_CHARACTERS = 128 * 1024
#: A part of a secret this long is hidden where a text was cut in the middle of the secret.
_LEAST_PART = 6
_LEAST_QUOTED = 3
_HEAD = 3
_LEAST_LINE = 12
_GO_SPECIAL = re.compile(r"[\x00-\x1f\x7f\\\"]")
_GO_SHORT = {
    "\\": "\\\\",
    '"': '\\"',
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\v": "\\v",
}
_ORDINARY = frozenset({"true", "false", "null", "none", "yes", "off"})


class Scrubber:
    """Replaces secret values in texts; immutable, so that threads may share it."""

    def __init__(
        self,
        secrets: Iterable[Secret] = (),
        public: Iterable[str] = (),
        *,
        base: "Scrubber | None" = None,
    ) -> None:
        names = tuple(public)
        #: What to look for, and how many characters may be shown at its begin and its end.
        self.needles: dict[str, tuple[int, int]] = {} if base is None else dict(base.needles)
        left_characters = MOST_FORMS_CHARACTERS
        for secret in secrets:
            if secret.value and secret.value != MASK:
                left_characters -= len(secret.value)
                self._add(secret, names, in_all_forms=left_characters >= 0)
        # By their first and last characters: a text is read once, however many secrets there are.
        self._by_head: dict[str, list[str]] = {}
        self._by_tail: dict[str, list[str]] = {}
        for needle, (before, _) in self.needles.items():
            self._by_head.setdefault(needle[:_HEAD], []).append(needle)
            if len(needle) > _LEAST_PART and not before:
                self._by_tail.setdefault(needle[-_LEAST_PART:], []).append(needle)

    @classmethod
    def of(cls, data: object) -> "Scrubber":
        """The scrubber of an event's `data`, or of any JSON of cattle's or Docker's.

        It also knows the secrets of the process.
        """
        return cls(secrets_in(data), public_names(data), base=_process.scrubber)

    @classmethod
    def of_settings(cls, settings: BaseModel) -> "Scrubber":
        """The scrubber of a program's settings."""
        # Not as passwords: a short one, such as `redis`, is in many of our own words.
        return cls(Secret(value=value) for value in _secrets_of_settings(settings))

    def __call__(self, text: str) -> str:
        """The text with each secret replaced; a secret that was cut at an end as well."""
        if not self.needles:
            return text
        pieces: list[str] = []
        shown = 0
        for begin, end in _merged(sorted([*self._spans(text), *self._cut_at_begin(text)])):
            pieces += [text[shown:begin], MASK]
            shown = end
        return "".join([*pieces, text[shown:]])

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where secrets are, and where the text ends inside one."""
        for at in range(len(text) - _HEAD + 1):
            for needle in self._by_head.get(text[at : at + _HEAD], ()):
                before, after = self.needles[needle]
                if text.startswith(needle, at):
                    yield at + before, at + len(needle) - after
                elif len(text) - at >= _LEAST_PART + before and needle.startswith(text[at:]):
                    yield at + before, len(text)

    def _cut_at_begin(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the text begins inside a secret."""
        for end in range(_LEAST_PART, len(text) + 1):
            for needle in self._by_tail.get(text[end - _LEAST_PART : end], ()):
                if needle.endswith(text[:end]):
                    yield 0, end

    def _add(self, secret: Secret, public: tuple[str, ...], *, in_all_forms: bool) -> None:
        value = secret.value[:MOST_VALUE_CHARACTERS]
        least = LEAST_PASSWORD_CHARACTERS if secret.is_password else LEAST_CHARACTERS
        is_public = not secret.is_password and any(value in name for name in public)
        if len(value.strip()) >= least and not is_public:
            for form in _forms(value) if in_all_forms else {value, _go_quoted(value)}:
                self.needles[form] = (0, 0)
            return
        if len(value) >= _LEAST_QUOTED and not is_public and value.lower() not in _ORDINARY:
            for mark in "\"'`":
                self.needles[f"{mark}{value}{mark}"] = (1, 1)
        if secret.name is not None and len(secret.name) + len(value) >= _HEAD - 1:
            for name in {secret.name, _go_quoted(secret.name)}:
                for form in {value, _go_quoted(value)}:
                    self.needles.setdefault(f"{name}={form}", (len(name) + 1, 0))


def _merged(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Sorted spans, those that overlap or touch as one."""
    begin = end = -1
    for next_begin, next_end in spans:
        if next_begin <= end:
            end = max(end, next_end)
            continue
        if end >= 0:
            yield begin, end
        begin, end = next_begin, next_end
    if end >= 0:
        yield begin, end


class _Process:
    scrubber = Scrubber()


_process = _Process()
_bound: ContextVar[Scrubber | None] = ContextVar("scrubber", default=None)


def keep_secret(settings: BaseModel) -> None:
    """Hide the secrets of the settings in every text of this process from now on."""
    _process.scrubber = Scrubber.of_settings(settings)


@contextmanager
def scrubbing(scrubber: Scrubber) -> Iterator[None]:
    """Bind a scrubber to what runs inside, in this thread."""
    token = _bound.set(scrubber)
    try:
        yield
    finally:
        _bound.reset(token)


def scrub(text: str) -> str:
    """The text without the secrets of the event that runs here, and of this process."""
    return (_bound.get() or _process.scrubber)(text)


def clipped(text: str, most_characters: int) -> str:
    """The beginning of a text, scrubbed before it is cut: half a secret would not be found."""
    return scrub(text)[:most_characters]


def clipped_end(text: str, most_characters: int) -> str:
    """The end of a text, scrubbed before it is cut."""
    return scrub(text)[-most_characters:]


def _secrets_of_settings(settings: BaseModel) -> Iterator[str]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, BaseModel):
                yield from _secrets_of_settings(one)
            text = one.get_secret_value() if isinstance(one, SecretStr) else one
            if isinstance(text, str):
                yield from url_logins(text)
            if isinstance(one, SecretStr) and "://" not in one.get_secret_value():
                yield from one.get_secret_value().split(",")


def _forms(value: str) -> set[str]:
    """Every form in which a value may be quoted."""
    whole = {value, value.strip(), unquote(value)}
    lines = {line.strip() for line in value.splitlines() if len(line.strip()) >= _LEAST_LINE}
    forms: set[str] = set()
    for one in whole | lines:
        escaped = {_json(one), _go_json(one), _go_quoted(one), repr(one)[1:-1], _ascii(one)}
        forms |= {one} | escaped | {twice(form) for form in escaped for twice in (_json, _ascii)}
        encoded = {quote(one, safe=""), quote(one), quote_plus(one)}
        forms |= encoded | {_lower_hex(form) for form in encoded}
        forms |= {shlex.quote(one).strip("'"), one.replace("'", "'\\''"), _backslashed(one)}
        for inside in {one, _json(one), _go_json(one), _ascii(one)}:
            forms.update(_in_base64(inside))
    return {form for form in forms if len(form) >= LEAST_PASSWORD_CHARACTERS}


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _ascii(text: str) -> str:
    """JSON as Python writes it."""
    return json.dumps(text)[1:-1]


def _go_json(text: str) -> str:
    """Go's JSON also escapes what is special in HTML."""
    return re.sub(r"[<>&]", lambda found: f"\\u{ord(found[0]):04x}", _json(text))


def _go_quoted(text: str) -> str:
    """Go's `%q`, without the quotes around it."""
    return _GO_SPECIAL.sub(lambda found: _GO_SHORT.get(found[0], f"\\x{ord(found[0]):02x}"), text)


def _lower_hex(text: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), text)


def _backslashed(text: str) -> str:
    """As bash's `%q` and `set -x` write it."""
    return re.sub(r"([^\w@%+=:,./-])", r"\\\1", text)


def _in_base64(text: str) -> Iterator[str]:
    """The part of any base64 text that a value alone decides, wherever the value is in it.

    Three bytes become four characters, so there are three ways to be aligned. A login
    (`user:password`) and a registry's header (JSON) are found by it.
    """
    content = text.encode(errors="replace")
    for before in range(3):
        coded = base64.b64encode(bytes(before) + content).decode().rstrip("=")
        first = -(-before * 8 // 6)
        last = (before + len(content)) * 8 // 6
        core = coded[first:last]
        if len(core) >= LEAST_CHARACTERS:
            yield core
            yield core.replace("+", "-").replace("/", "_")
