"""JSON patches (RFC 6902) that change a list entry by its place: as structure, and inside a kustomization's text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from torghutctl.planning.yaml_document import Address, YamlFile, is_mapping, is_scalar, walk_nodes


def pointer_of(entry: Address) -> str:
    """Return the JSON pointer of an address in its object: without the document's index, and the List's around it."""
    steps = entry[1:]
    if len(steps) > 1 and steps[0] == "items" and isinstance(steps[1], int):
        steps = steps[2:]
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)


def patched_values(yaml: YamlFile, pointers: Iterable[str]) -> Iterator[tuple[Address, str | None]]:
    """Yield address and text of the value of each operation that sets `POINTER/value`."""
    wanted = {f"{pointer}/value" for pointer in pointers}
    for index, root in enumerate(yaml.documents):
        for address, node in walk_nodes(root, (index,)):
            if not is_mapping(node) or yaml.value((*address, "path")) not in wanted:
                continue
            place: Address = (*address, "value")
            if yaml.value((*address, "op")) in ("add", "replace") and is_scalar(yaml.node(place)):
                yield place, yaml.value(place)


def texts_that_patch(yaml: YamlFile, pointers: Iterable[str]) -> Iterator[tuple[Address, str | None]]:
    """Yield address of each text that holds such an operation, and the value it sets; None when that is not plain."""
    shapes = [
        re.compile(rf"{re.escape(pointer)}/value[\"']?(?:\s*,?\s*[\"']?value[\"']?\s*:\s*[\"']?(\w*))?(?![\w/])")
        for pointer in pointers
    ]
    for index, root in enumerate(yaml.documents):
        for address, node in walk_nodes(root, (index,)):
            text = str(node.value) if is_scalar(node) else ""
            for match in (match for shape in shapes for match in shape.finditer(text)):
                if match.group() != text:
                    yield address, match.group(1)
