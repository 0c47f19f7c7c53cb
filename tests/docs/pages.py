"""Markdown as its readers use it: blocks to type in, links to follow, words that name something.

A block is a fence with a language. What a reader sees decides what it is: a first line that names a file makes it
that file, `$ ` a command. Comments, which no reader sees, say the rest:

    <!-- not run: why -->           this block cannot be run here
    <!-- output of: a command -->   the lines are what that running command has said by now, in this order
    <!-- setup ... -->              Python that the page's snippets take for granted
    <!-- ^C -->                     stops what was started last, where every reader knows to
    <!-- browser: url click #this, #that says: a text -->       what a visitor of the page sees

Knows text only; `project.py` runs it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: "# shop.py", "# in shop/tasks.py: why", "<!-- templates/index.html -->", "{# templates/index.html #}"
_FILE = re.compile(r"^(?:#|<!--|\{#|//)\s*(in |)([\w./-]*[\w-]\.(?:py|html|js|ini|toml|cfg|txt|json|yml))(?=[\s:,]|$)")
_FENCE = re.compile(r"^```(\w*)\s*$")
_COMMENT = re.compile(r"<!--\s*(.*?)\s*-->", re.S)
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """`line` is that of its first line. `setup` blocks are Python that is not shown."""

    page: str
    line: int
    language: str
    text: str
    not_run: str | None = None
    output_of: str | None = None

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that the block is, or is a change of."""
        found = _FILE.match(self.text)
        return found[2] if found else None

    @property
    def changes(self) -> bool:
        found = _FILE.match(self.text)
        return found is not None and found[1] == "in "


@dataclass(frozen=True)
class Page:
    name: str  # relative to the root
    text: str

    @property
    def prose(self) -> str:
        """Without blocks and comments."""
        return _COMMENT.sub("", re.sub(r"^```.*?^```$", "", self.text, flags=re.M | re.S))

    def blocks(self) -> list[Block]:
        return _walk(self)

    def anchors(self) -> set[str]:
        """As GitHub makes them of headings."""
        found: dict[str, int] = {}
        for heading in re.findall(r"^#{1,6} (.+)$", self.prose, re.M):
            slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
            found[slug] = found.get(slug, -1) + 1
        return {f"{slug}-{n}" if n else slug for slug, last in found.items() for n in range(last + 1)}

    def links(self) -> list[str]:
        return _LINK.findall(self.prose)


def pages() -> list[Page]:
    """README.md and all of docs/."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [Page(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in found]


def page(name: str) -> Page:
    (found,) = [page for page in pages() if page.name == name]
    return found


def commands(block: Block) -> list[tuple[str, list[str]]]:
    """The commands of a shell block, each with the lines that it is said to print.

    With `$ ` before the commands the other lines are output; without, every line is a command. A backslash at the
    end goes on in the next line; what stands behind ` #` is a remark. `^C` stops what was started last.
    """
    lines = block.text.replace("\\\n", " ").splitlines()
    prompted = any(line.startswith("$ ") for line in lines)
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ ") or not prompted or line == "^C":
            command = re.sub(r"(^|\s+)# .*$", "", line.removeprefix("$ ")).strip()
            found += [(command, [])] if command else []
        elif found:
            found[-1][1].append(line)
    return found


def is_shell(block: Block) -> bool:
    return block.language in ("console", "bash", "sh")


# ---------------------------------------------------------------- helpers


def _walk(page: Page) -> list[Block]:
    found, lines, at = list[Block](), page.text.splitlines(), 0
    said: str | None = None  # the comment just before
    while at < len(lines):
        line = lines[at]
        if line.startswith("<!--"):
            end = next(n for n in range(at, len(lines)) if "-->" in lines[n])
            match = _COMMENT.match("\n".join(lines[at : end + 1]))
            said = match[1] if match else None
            if said is not None and said.startswith("setup"):
                found.append(Block(page.name, at + 2, "python", said.removeprefix("setup").strip("\n")))
                said = None
            if said == "^C":
                found.append(Block(page.name, at + 1, "bash", f"{said}\n"))
                said = None
            if said is not None and said.startswith("browser:"):
                found.append(Block(page.name, at + 1, "browser", said.removeprefix("browser:").strip()))
                said = None
            at = end + 1
            continue
        if line.startswith("```"):
            fence = _FENCE.match(line)
            assert fence, f"{page.name}:{at + 1}: what language is {line}?"
            end = lines.index("```", at + 1)
            text = "\n".join(lines[at + 1 : end]) + "\n"
            reason, output = _said(said, "not run:"), _said(said, "output of:")
            found.append(Block(page.name, at + 2, fence[1], text, reason, output))
            at, said = end + 1, None
            continue
        said = None if line.strip() else said
        at += 1
    return found


def _said(comment: str | None, word: str) -> str | None:
    return comment.removeprefix(word).strip() if comment is not None and comment.startswith(word) else None
