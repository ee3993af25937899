"""The surgical editor on hand-made traps, and on anything hypothesis comes up with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torghutctl.planning.unified_diff import unified_diff
from torghutctl.planning.yaml_document import UneditableError, parse
from torghutctl.planning.yaml_edit import insert_named_item, set_scalar

REPLACED = {
    "double quotes": (b'a: "true" # c\n', b'a: "false" # c\n'),
    "single quotes": (b"a: 'true'\n", b"a: 'false'\n"),
    "plain": (b"a: true\n", b"a: false\n"),
    "anchor unused elsewhere": (b"a: &x true\nb: 1\n", b"a: &x false\nb: 1\n"),
    "tag": (b"a: !!str true\n", b"a: !!str false\n"),
    "anchor and tag": (b"a: &x !!str 'true'\n", b"a: &x !!str 'false'\n"),
    "alias": (b"b: &x true\na: *x # c\n", b"b: &x true\na: false # c\n"),
    "alias of quoted text": (b"b: &x 'true'\na: *x # c\n", b"b: &x 'true'\na: 'false' # c\n"),
    "literal block": (b"a: |-\n  true\nb: 1\n", b"a: |-\n  false\nb: 1\n"),
    "folded block, CRLF": (b"a: >\r\n  true\r\nb: 1\r\n", b"a: >\r\n  false\r\nb: 1\r\n"),
    "value on the next line": (b"a:\n  true\n", b"a:\n  false\n"),
    "tab after the colon": (b"a:\ttrue\n", b"a:\tfalse\n"),
    "byte order mark": (b"\xef\xbb\xbfa: true\n", b"\xef\xbb\xbfa: false\n"),
    "no final newline": (b"a: true", b"a: false"),
    "empty value": (b"a:\nb: 1\n", b'a: "false"\nb: 1\n'),
    "missing, among quoted": (b"b: 'x'\n", b"b: 'x'\na: 'false'\n"),
    "missing, no final newline": (b"b: 'x'", b"b: 'x'\na: 'false'"),
    "missing, only collections": (b"b:\n  - 1\n", b'a: "false"\nb:\n  - 1\n'),
    "missing, after a comment": (b"b: 'x' # c\n# end\n", b"b: 'x' # c\na: 'false'\n# end\n"),
    "empty flow": (b"{}\n", b'{a: "false"}\n'),
    "JSON": (b'{"b": 1,\n "a": true}\n', b'{"b": 1,\n "a": false}\n'),
    "JSON, missing": (b'{"b": "1"}', b'{"b": "1", "a": "false"}'),
    "milliseconds beside it": (b"t: 2026-01-01T00:00:00.190Z\na: true\n", b"t: 2026-01-01T00:00:00.190Z\na: false\n"),
    "unicode before it": ("k: 'ü – \U0001f600'\na: true\n".encode(), "k: 'ü – \U0001f600'\na: false\n".encode()),
}


@pytest.mark.parametrize("case", REPLACED)
def test_set_scalar_when_written_in_some_style_then_the_style_is_kept(case: str) -> None:
    """Each style keeps its own way of writing, byte for byte."""
    before, after = REPLACED[case]
    assert after == set_scalar(parse("x.yaml", before), (0, "a"), "false", is_text=True).data


REFUSED = {
    "shared anchor": (b"a: &x true\nb: *x\n", "would change b too, through an anchor or a merge key"),
    "key twice": (b"a: true\na: false\n", "stands twice"),
    "a mapping": (b"a: {b: 1}\n", "is not a single value"),
    "not YAML": (b"a: [\n", "is not YAML"),
    "a template": (b"a: {{ .Values.x }}\n{{- if }}\n", "is not YAML"),
    "not UTF-8": (b"a: \xff\n", "is not UTF-8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_set_scalar_when_it_cannot_be_safe_then_it_is_refused_by_name(case: str) -> None:
    """The refusal names the file and the reason."""
    data, why = REFUSED[case]
    with pytest.raises(UneditableError, match=r"x\.yaml") as caught:
        set_scalar(parse("x.yaml", data), (0, "a"), "false", is_text=True)
    assert why in str(caught.value)


def test_set_scalar_when_already_so_then_the_same_file_comes_back() -> None:
    """Nothing to change is the very same object."""
    file = parse("x.yaml", b"a: 'false'\n")
    assert file is set_scalar(file, (0, "a"), "false", is_text=True)


def test_set_scalar_when_a_number_is_inserted_among_quoted_text_then_it_stays_a_number() -> None:
    """A nonce is never quoted."""
    assert set_scalar(parse("x.yaml", b'b: "x"\n'), (0, "a"), "3", is_text=False).data == b'b: "x"\na: 3\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"m:\n  a: ~ # c\n", b'm:\n  a: {k: "1"} # c\n'),
        (b"m:\n  a: null\n  b: x\n", b'm:\n  a: {k: "1"}\n  b: x\n'),
        (b"m:\n    b: x\n", b'm:\n    b: x\n    a:\n        k: "1"\n'),
        (b"m:\n   a:\n", b'm:\n   a:\n      k: "1"\n'),
    ],
)
def test_set_scalar_when_the_mapping_around_it_is_missing_then_it_is_made_as_its_neighbours_are(
    before: bytes, after: bytes
) -> None:
    """An explicit null gives way; the indentation is the file's own."""
    assert after == set_scalar(parse("x.yaml", before), (0, "m", "a", "k"), "1", is_text=True).data


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"e:\n- name: A\n  value: '1'\n", b"e:\n- name: A\n  value: '1'\n- name: K\n  value: 'true'\n"),
        (
            b"e:\n  -   name: A\n      value: x",
            b'e:\n  -   name: A\n      value: x\n  -   name: K\n      value: "true"',
        ),
        (b"e: [{name: A, value: 1}]\n", b'e: [{name: A, value: 1}, {name: K, value: "true"}]\n'),
        (b"e:\n- {name: A, value: '1'} # c\n", b"e:\n- {name: A, value: '1'} # c\n- {name: K, value: 'true'}\n"),
        (
            b'{"e": [{"name": "A", "value": "1"}]}',
            b'{"e": [{"name": "A", "value": "1"}, {"name": "K", "value": "true"}]}',
        ),
    ],
)
def test_insert_named_item_when_the_neighbour_has_a_style_then_it_is_copied(before: bytes, after: bytes) -> None:
    """A new entry looks as the one it follows, and its value stays a string: an EnvVar takes no boolean."""
    assert yaml.safe_load(after)["e"][1] == {"name": "K", "value": "true"}
    assert after == insert_named_item(parse("x.yaml", before), (0, "e", 0), "K", "true").data


KEYS = st.text("abcdefgh", min_size=1, max_size=4)
SCALARS = st.one_of(
    st.sampled_from(
        ["true", "no", "~", "1", "2026-01-01T00:00:00.190Z", "0x1f", "", "a b", "x: y", "# no", "'", '"', "é–"]
    ),
    st.text(max_size=8),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    tree=st.dictionaries(KEYS, TREES, max_size=5),
    flow=st.sampled_from([None, True, False]),
    style=st.sampled_from([None, '"', "'", "|", ">"]),
    indent=st.sampled_from([2, 4, 7]),
    newline=st.sampled_from(["\n", "\r\n"]),
    strip=st.booleans(),
    present=st.booleans(),
)
@pytest.mark.slow
def test_set_scalar_when_given_any_document_then_nothing_else_changes(
    tree: dict[str, object], flow: bool | None, style: str | None, indent: int, newline: str, strip: bool, present: bool
) -> None:
    """Either the file then says the same but for the planned value, or the edit is refused; never anything else."""
    document = {**tree, "target": {**({"z": "old"} if present else {}), "other": "x"}}
    text = yaml.dump(
        document, default_flow_style=flow, default_style=style, indent=indent, allow_unicode=True, sort_keys=False
    )
    text = text.rstrip("\n") if strip else text
    if newline == "\r\n" and "\n" in text:
        text = text.replace("\n", "\r\n")
    data = text.encode()
    try:
        parsed = yaml.load(data.decode(), yaml.BaseLoader)
        before = parse("x.yaml", data)
    except (UneditableError, yaml.YAMLError):
        return
    try:
        edited = set_scalar(before, (0, "target", "z"), "new", is_text=True)
    except UneditableError:
        return
    parsed["target"]["z"] = (
        "new" if style not in ("|", ">") or not present else parsed["target"].get("z", "").replace("old", "new")
    )
    assert parsed == yaml.load(edited.data.decode(), yaml.BaseLoader)
    assert edited is set_scalar(edited, (0, "target", "z"), "new", is_text=True)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=6), max_size=30),
    other=st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=6), max_size=30),
    position=st.integers(0, 30),
    final=st.booleans(),
    name=st.sampled_from(["f.yaml", "with space.yaml", 'ünï/q"uote.yaml', "back\\slash.yaml", "tab\there.yaml"]),
)
def test_unified_diff_when_applied_by_git_then_the_bytes_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], other: list[str], position: int, final: bool, name: str
) -> None:
    """`git apply` of the diff gives exactly the edited file, whatever its lines and name."""
    folder = tmp_path_factory.mktemp("apply")
    before = ("\n".join(["first", *lines, "last"]) + ("\n" if final else "")).encode()
    changed = [*lines[:position], *other, *lines[position + 1 :]]
    after = ("\n".join(["first", *changed, "last"]) + ("" if final else "\n")).encode()
    diff = unified_diff(name, before, after)
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(before)
    if before == after:
        assert diff == ""
        return
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    subprocess.run(["git", "apply", "-"], cwd=folder, input=diff.encode(), check=True, capture_output=True)
    assert after == path.read_bytes()


def test_unified_diff_when_context_holds_something_unshowable_then_less_of_it_is_shown() -> None:
    """A line that must not be shown is left out of the context, never cut."""
    before = b"password: hunter2\na\nb\nvalue: 1\nc\n"
    diff = unified_diff("x", before, before.replace(b"1", b"2"), is_showable=lambda text: "hunter2" not in text)
    assert ("hunter2" in diff, " b\n" in diff) == (False, True)
