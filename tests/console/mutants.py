"""Do the checks bite? Sabotages the console's sources, one place at a time, builds the page and runs the check that is
named to notice. One that survives is a missing check. `python3 mutants.py [WORDS]`: those whose name holds them."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import runner
from world import World

SOURCES = runner.HERE.parents[1] / "admin" / "console"
# name, file, from, to, file of checks, words of the check's name
MUTANTS = [
    ("marks reach the page", "ui/words.tsx", "return text\n    .replace(UNSEEN", "return text || text\n    .replace(UNSEEN", "strangers", "marks that turn"),
    ("a viewer sees every button", "session.ts", "session.value?.role === 'operator'", "session.value !== null", "pages",
     "a viewer sees every page"),
    ("polling is a person", "api/http.ts", "if (ask.background) headers", "if (false) headers", "sign-in", "polling says"),
    ("a stranger's page may ask", "api/http.ts", "headers['X-Sallyport-CSRF'] =", "headers['X-Nothing'] =", "actions",
     "settings are searched"),
    ("no word has to be typed", "ui/act.tsx", "(!what.type || typed === what.type)", "true", "actions", "a listener goes one-way"),
    ("the focus is lost", "ui/act.tsx", "from.current.focus();", "from.current.blur();", "strangers", "the keyboard alone"),
    ("a session never ends", "api/http.ts", "if (answer.status === 401) session_over('ended');", "", "sign-in",
     "ends in the middle"),
    ("the idle end is not said", "app.tsx", "if (left > 60) return null;", "if (left > -1) return null;", "sign-in",
     "the last minute"),
    ("a restart is not noticed", "api/http.ts", "    server_lost();\n", "", "sign-in", "a restart in the middle"),
    ("a word is not translated", "texts/zh.ts", "sessions: '会话',\n    brokers", "sessions: 'Sessions',\n    brokers", "pages",
     "Chinese is whole"),
    ("commands are as wide as they like", "style/pages.css", "  grid-template-columns: minmax(0, 1fr);\n  gap: 10px;", "  gap: 10px;",
     "pages", "nothing is wider than a phone"),
    ("quiet is too quiet", "style/tokens.css", "--ink-quiet: #586663", "--ink-quiet: #b0bab7", "pages", "every page opens"),
    ("a choice becomes all", "pages/approvals.tsx", "act_on_many(verb, { chosen }, clear)", "act_on_many(verb, everybody, clear)",
     "choices", "whose rows leave the page"),
    ("a choice is lost with its page", "ui/table.tsx", "const next = new Map(chosen);",
     "const next = new Map([...(chosen ?? [])].filter(([key]) => rows.some((row) => id(row) === key)));", "choices",
     "kept from page to page"),
    ("buttons move under the pointer", "style/table.css", "  flex: 0 0 300px;\n", "", "choices", "whose rows leave the page"),
    ("who came since is taken along", "api/acts.ts", "{ as_of }", "{}", "choices", "what was looked at"),
    ("what cannot be seen is not shown", "ui/words.tsx", "\\p{Default_Ignorable_Code_Point}", "", "choices", "look alike"),
    ("blanks at the end are not shown", "ui/words.tsx", "/^ +| +$/g", "/^ +/g", "choices", "look alike"),
    ("a name is all that a dialog says", "ui/whom.tsx", "[t.id, short(device.id)], ", "", "choices", "the id and the CA"),
    ("today's walk answers for a broker", "pages/refusals.tsx", "!BY_THE_WALK.has(then.reason)", "false", "choices", "a broker was away"),
    ("what was not kept is ticked", "ui/path.tsx", "step === 2 || step === 3 ? ['open', r.not_kept] : ['passed', '']",
     "['passed', '']", "choices", "a tick stands"),
    ("a key leaves the browser", "api/keys.ts", ".includes(MARK)", ".includes('none')", "actions", "a bundle is imported"),
    ("a key in DER leaves the browser", "api/keys.ts", "raw[first] === 0x02", "raw[first] === 0xff", "actions", "a CRL is imported"),
    ("the future has happened", "ui/words.tsx", "ahead ? when : Math.min(when, now.value)", "when", "choices", "never in the future"),
    ("what is not known is empty", "api/live.ts", "!state.loading && !state.away", "!state.loading", "sign-in", "a restart in the middle"),
    ("the first name is taken", "ui/words.tsx", "names.length === 1 && names[0]", "names[0]", "choices", "another part of the subject"),
    ("a key runs over its column", "style/table.css", "td.col-name code {\n  overflow-wrap: anywhere;\n}", "", "pages",
     "stays in its column"),
    ("the path goes on behind its end", "ui/path.tsx", "['ahead', r.not_reached]", "['passed', '']", "actions", "a refusal is explained"),
]


def check(world, dist, file, words):
    """Whether the named check passes with the page of `dist`."""
    os.environ.update(CONSOLE_DIST=str(dist), ONLY=words, PATIENCE="9000")
    try:
        runner.run(world, file)
        return True
    except AssertionError:
        return False


def main(wanted):
    runner.install()
    scratch = Path(tempfile.mkdtemp(prefix="console-mutants-", dir="/tmp"))
    tree = scratch / "console"
    shutil.copytree(SOURCES, tree, ignore=shutil.ignore_patterns("node_modules", "dist"))
    subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=tree, check=True, capture_output=True)
    survived = []
    for name, file, before, after, checks, words in MUTANTS:
        if wanted not in name:
            continue
        source = tree / "src" / file
        text = source.read_text()
        if before not in text:
            survived.append(f"{name}: NOT APPLIED")
            continue
        source.write_text(text.replace(before, after, 1))
        # Without the types: what they would notice is not what is asked.
        subprocess.run(["npx", "vite", "build"], cwd=tree, check=True, capture_output=True)
        source.write_text(text)
        world = World(scratch / name.replace(" ", "-")[:20])
        try:
            passed = check(world, tree / "dist", checks, words)
        finally:
            world.stop()
        print(f"=== {name}: {'SURVIVED' if passed else 'killed'}", flush=True)
        if passed:
            survived.append(name)
    shutil.rmtree(scratch)
    print(json.dumps({"survived": survived}))
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
