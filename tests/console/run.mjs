// Runs the console's checks in one browser, each in a context of its own: `node run.mjs WORLD.json checks/a.mjs …`.
// What only the test's other half can do (restart the server, cut a device off) is asked of it: a line "@{…}" on
// standard output, answered by a line on standard input. ONLY=words: the checks whose name holds them. Results are lines "ok NAME SECONDS" and "failed NAME".
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { Console } from './console.mjs';

const [, , world_file, ...files] = process.argv;
const world = JSON.parse(fs.readFileSync(world_file, 'utf8'));
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

let last = Promise.resolve();
function ask(what) {
  const answer = last.then(async () => {
    process.stdout.write(`@${JSON.stringify(what)}\n`);
    const line = await answers.next();
    if (line.done) throw new Error('the other half is gone');
    const said = JSON.parse(line.value);
    if (said.error) throw new Error(said.error);
    return said.value;
  });
  last = answer.catch(() => undefined);
  return answer;
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
let failed = 0;
for (const file of files) {
  const { checks } = await import(pathToFileURL(path.resolve(file)));
  for (const [name, check] of Object.entries(checks)) {
    if (process.env.ONLY && !name.includes(process.env.ONLY)) continue;
    const began = Date.now();
    const all = [];
    const open = async (options = {}) => {
      const made = await Console.open(browser, world, options);
      all.push(made);
      return made;
    };
    try {
      await check({ open, ask, world, note: (text) => process.stdout.write(`# ${name}: ${text}\n`) });
      for (const each of all) each.no_trouble();
      process.stdout.write(`ok ${name} ${((Date.now() - began) / 1000).toFixed(1)}\n`);
    } catch (error) {
      failed += 1;
      const shots = path.join(world.folder, 'shots');
      fs.mkdirSync(shots, { recursive: true });
      for (const each of all) await each.page.screenshot({ path: path.join(shots, `${name.replace(/\W+/g, '-')}.png`) }).catch(() => undefined);
      process.stdout.write(`failed ${name}\n${String(error.stack ?? error).replace(/^/gm, '    ')}\n`);
    }
    for (const each of all) await each.context.close();
  }
}
await browser.close();
process.exit(failed ? 1 : 0);
