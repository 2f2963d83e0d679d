// node embed.mjs DIST FILE.cc: the built page as C++ (console_files.h): each file plain, and as gzip, with its type and
// an ETag of what is in it. The same bytes in, the same bytes out: the order is that of the names, gzip has no date.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { constants, gzipSync } from "node:zlib";

const types = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".ico": "image/x-icon",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".webmanifest": "application/manifest+json",
  ".woff2": "font/woff2",
};

function filesOf(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((each) => {
    const path = join(folder, each.name);
    return each.isDirectory() ? filesOf(path) : [path];
  });
}

// Octal, three digits each: the one escape that no digit behind it can lengthen. A literal of its own for each piece:
// compilers join them.
function literal(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4096) {
    text += '\n    "';
    for (const byte of bytes.subarray(at, at + 4096)) {
      const plain = byte >= 0x20 && byte < 0x7f && byte !== 0x22 && byte !== 0x5c && byte !== 0x3f;
      text += plain ? String.fromCharCode(byte) : "\\" + byte.toString(8).padStart(3, "0");
    }
    text += '"';
  }
  return text === "" ? '""' : text;
}

const [dist, made] = process.argv.slice(2);
const files = filesOf(dist)
  .map((path) => ({ path, name: relative(dist, path).split("\\").join("/") }))
  .sort((a, b) => (a.name < b.name ? -1 : 1));
if (!files.some((each) => each.name === "index.html")) throw new Error(`${dist} has no index.html`);

let total = 0;
let rows = "";
let texts = "";
files.forEach(({ path, name }, number) => {
  const type = types[name.slice(name.lastIndexOf("."))];
  if (type === undefined) throw new Error(`${name}: embed.mjs knows no content type for it`);
  if (!/^[A-Za-z0-9._/-]+$/.test(name)) throw new Error(`${name}: a name that would have to be escaped in a path`);
  const plain = readFileSync(path);
  const zipped = gzipSync(plain, { level: constants.Z_BEST_COMPRESSION });
  zipped[9] = 0xff; // the system it was made on, which is nobody's business
  total += zipped.length;
  const etag = createHash("sha256").update(plain).digest("hex").slice(0, 32);
  texts += `constexpr std::string_view kPlain${number}(${literal(plain)},\n    ${plain.length});\n`;
  texts += `constexpr std::string_view kZipped${number}(${literal(zipped)},\n    ${zipped.length});\n`;
  rows += `    {"${name}", "${type}", "\\"${etag}\\"", kPlain${number}, kZipped${number}},\n`;
});

writeFileSync(
  made,
  `// Made by admin/console_server/embed.mjs.
#include "admin/console_server/console_files.h"

namespace sallyport {

namespace {

${texts}
constexpr ConsoleFile kFiles[] = {
${rows}};

}  // namespace

std::span<const ConsoleFile> console_files() {
  return kFiles;
}

std::string_view console_left_out() {
  return {};
}

}  // namespace sallyport
`,
);
console.log(`console: ${files.length} files, ${total} bytes as gzip`);
