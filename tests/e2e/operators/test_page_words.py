"""What the operators' pages say in passing: commands in the middle of a sentence, calls of the API, keys of the
configuration, links."""

import re

import pytest

from harness.pages import BLOCK, DOCS

TOP = DOCS.parents[1]
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
GENERATED = ("configuration.md", "commands.md", "api.md", "metrics.md", "reasons.md")


def prose(page):
    """Without blocks, and with each command in one line."""
    return re.sub(r"\s+", " ", BLOCK.sub("", (DOCS / page).read_text())).replace("\\|", "|")


def spans(page, begin):
    return [each for each in re.findall(r"`([^`]+)`", prose(page)) if each.startswith(begin)]


def known_commands():
    """Each command of commands.md with its options."""
    found, shared = {}, set()
    for section in re.split(r"^## ", (DOCS / "commands.md").read_text(), flags=re.M)[1:]:
        options = {word for row in re.findall(r"^\| `(-[^`]+)`", section, re.M) for word in row.split(",")}
        command = re.match(r"`sallyport ([^`]+)`", section)
        if command:
            found[" ".join(word for word in command[1].split() if re.fullmatch(r"[a-z-]+", word))] = options
        else:
            shared |= options
    return found, shared | {"--help"}


@pytest.mark.parametrize("page", [page for page in PAGES if page not in GENERATED])
def test_a_command_in_a_sentence_is_one(page):
    """It is in commands.md, which is made of the program's own tables, and so are its options."""
    known, shared = known_commands()
    for span in spans(page, "sallyport "):
        words = span.split()[1:]
        while words[:1] and words[0] in ("-o", "json"):
            words.pop(0)
        command = next((" ".join(words[:count]) for count in (2, 1) if " ".join(words[:count]) in known), None)
        assert command is not None or words == ["COMMAND", "--help"], f"{page}: `{span}` is no command"
        for word in words:
            if word.startswith("--") and command is not None:
                assert word.split("=")[0] in known[command] | shared, f"{page}: `{span}` has no option {word}"


@pytest.mark.parametrize("page", PAGES)
def test_a_call_of_the_api_in_a_sentence_is_one(page):
    known = {re.sub(r"\{\w+\}", "X", call): set(re.findall(r"`(\w+)`", query)) for call, query in
             re.findall(r"^\| `((?:GET|POST|PUT|DELETE) /v1/[^`]*)` \| \w+ \| [^|]* \| ([^|]*) \|", (DOCS / "api.md")
                        .read_text(), re.M)}
    for method in ("GET", "POST", "PUT", "DELETE"):
        for span in spans(page, f"{method} /v1/"):
            path, _, query = span.partition("?")
            call = re.sub(r"/(ID|NAME|SERVER|\{\w+\})(?=/|$)", "/X", path)
            assert call in known, f"{page}: `{span}` is no call"
            assert {each.split("=")[0] for each in query.split("&") if each} <= known[call], f"{page}: `{span}`"


@pytest.mark.parametrize("page", [page for page in PAGES if page not in GENERATED])
def test_a_key_of_the_configuration_in_a_sentence_is_one(page):
    known = set(re.findall(r"^### (\S+)$", (DOCS / "configuration.md").read_text(), re.M))
    for table in ("proxy", "listener", "upstream", "registry", "admin", "metrics", "log"):
        for span in spans(page, f"{table}."):
            key = re.match(r"[a-z_]+\.[a-z_]+", span)
            if key and not span.endswith((".md", ".toml", ".crt")):
                assert key[0] in known, f"{page}: `{span}` is no key"


def anchor(heading):
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).strip().replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_a_link_to_a_heading_leads_there(page):
    for target, wanted in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", (DOCS / page).read_text()):
        if target.startswith("http"):
            continue
        text = ((DOCS / target) if target else DOCS / page).resolve().read_text()
        headings = {anchor(each) for each in re.findall(r"^#+ (.*)$", text, re.M)}
        assert wanted in headings, f"{page}: {target}#{wanted} is not there"


def test_every_page_is_found_from_the_first_one():
    first = (DOCS / "README.md").read_text()
    assert not [page for page in PAGES if page != "README.md" and f"]({page})" not in first]
    assert "](admin/docs/README.md)" in (TOP / "README.md").read_text()
