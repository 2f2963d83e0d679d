// Each page: opens, for an operator and a viewer, without a fault; axe finds nothing serious; both languages; a phone.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { all_pages } from '../console.mjs';

const AXE = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
// What changes something. A viewer must not see one of these anywhere.
const CHANGES = ['Activate', 'Deactivate', 'Revoke', 'Delete', 'Approve', 'Cut', 'Cut all that match', 'Activate all', 'Deactivate all', 'Revoke all', 'Delete all', 'Approve all', 'Drain', 'Take back', 'Import',
  'Register a CA', 'Register or import', 'Get a code', 'Register the CA', 'Host a certificate', 'Use another certificate', 'Switch to one-way',
  'Switch to mutual', 'Reset', 'Create a token', 'Make a backup', 'Reload the configuration', 'Rotate the ticket keys'];

async function settled(it, heading) {
  await it.page.locator('main h1').filter({ hasText: heading }).first().waitFor();
  await it.page.waitForFunction(() => !/Loading…|加载中…/.test(document.querySelector('main')?.textContent ?? ''));
}

async function axe(it, where, only) {
  const found = await it.page.evaluate(async (rules) => {
    const done = await window.axe.run(document, { resultTypes: ['violations'], ...(rules ? { runOnly: { type: 'rule', values: rules } } : {}) });
    return done.violations
      .filter((each) => each.impact === 'serious' || each.impact === 'critical')
      .map((each) => `${each.id}: ${each.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(' | ')}`);
  }, only);
  assert.deepEqual(found, [], where);
}

export const checks = {
  async 'every page opens for an operator, and axe finds nothing serious in light and dark'({ open, world }) {
    const it = await open();
    await it.page.evaluate(AXE);
    for (const [path, [heading]] of Object.entries(all_pages(world))) {
      await it.go(path === '/settings' ? '/settings?q=listener.c' : path); // all of its rows are alike, and take axe long
      await settled(it, heading);
      assert.equal(await it.page.locator('main .problem').count(), 0, `${path}: ${await it.page.locator('main').innerText()}`);
      await axe(it, `${path}, light`);
      await it.page.emulateMedia({ colorScheme: 'dark' });
      await axe(it, `${path}, dark`, ['color-contrast']);
      await it.page.emulateMedia({ colorScheme: 'light' });
    }
    await it.go('/settings');
    await it.button('Rotate the ticket keys').click();
    await it.dialog.getByText('No ticket issued before').waitFor();
    await axe(it, 'a dialog');
    await it.page.keyboard.press('Escape');
    await it.page.getByRole('button', { name: 'Sign out' }).click();
    await it.page.locator('#token').waitFor();
    await axe(it, 'sign-in');
  },

  async 'a viewer sees every page and no button that would be refused'({ open, world }) {
    const it = await open({ role: 'viewer' });
    let shown = 0;
    for (const [path, [heading]] of Object.entries(all_pages(world))) {
      await it.go(path);
      await settled(it, heading);
      assert.equal(await it.page.locator('main .problem').count(), 0, path);
      const buttons = await it.page.locator('main button, main a.button, main [role=switch], main input[type=file]').evaluateAll((all) => all.map((each) => each.textContent?.trim() || each.getAttribute('aria-label') || each.tagName));
      shown += buttons.length;
      const bad = buttons.filter((each) => CHANGES.includes(each));
      assert.deepEqual(bad, [], path);
      assert.equal(await it.page.locator('main [role=switch]').count(), 0, path);
    }
    assert.ok(shown > 5, 'there are buttons that a viewer may press');
    // And what is hidden is refused as well.
    const status = await it.page.evaluate(async () => {
      const csrf = (await (await fetch('/console/session')).json()).csrf;
      return (await fetch('/v1/ticket-keys/rotate', { method: 'POST', headers: { 'X-Sallyport-CSRF': csrf } })).status;
    });
    assert.equal(status, 403);
  },

  async 'Chinese is whole, and stays'({ open, world }) {
    const it = await open();
    await it.page.getByRole('button', { name: '中文' }).click();
    for (const [path, [, heading]] of Object.entries(all_pages(world))) {
      await it.go(path);
      await settled(it, heading);
      const left = await it.page.evaluate(() => {
        const own = [...document.querySelectorAll('h1, h2, button, th, label, dt, legend, .lead, .hint, .nav a, option, .empty')];
        const strangers = 'bdi, code, pre, .mono, [lang="en"], select[id] option';
        return own
          .filter((each) => !each.closest(strangers) && !each.querySelector('bdi, code, select, textarea'))
          .map((each) => each.textContent.trim())
          .filter((text) => /[A-Za-z]{3}/.test(text) && !/[\u4e00-\u9fff]/.test(text));
      });
      const names = ['English', 'EC P-256', 'RSA 2048', 'Common Name', 'CRL', 'mqtts', 'gateway', 'plant', 'broker', 'edge'];
      assert.deepEqual(left.filter((each) => !names.includes(each)), [], path);
      assert.equal(await it.page.evaluate(() => document.documentElement.lang), 'zh-CN');
    }
    await it.page.reload();
    await it.page.locator('.frame').waitFor();
    await it.page.getByRole('button', { name: 'English' }).click();
    assert.equal(await it.page.locator('.nav a').first().innerText(), 'Overview');
  },

  async 'a browser that asks for Chinese gets it'({ open }) {
    const it = await open({ locale: 'zh-CN', signed_in: false });
    await it.sees('登录', 'h1');
  },

  async 'nothing is wider than a phone, and the menu opens'({ open, world }) {
    const it = await open({ width: 360 });
    for (const [path, [heading]] of Object.entries(all_pages(world))) {
      await it.go(path);
      await settled(it, heading);
      const over = await it.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(over <= 0, `${path} is ${over} px too wide`);
    }
    assert.equal(await it.page.getByRole('link', { name: 'Tokens' }).isVisible(), false);
    await it.page.getByRole('button', { name: 'Menu' }).click();
    await it.page.getByRole('link', { name: 'Tokens' }).click();
    await settled(it, 'Tokens');
    assert.equal(await it.page.getByRole('link', { name: 'Sessions' }).isVisible(), false, 'it closes again');
  },

  async 'what stands in a table stays in its column'({ open, world }) {
    const it = await open();
    for (const [path, [heading]] of Object.entries(all_pages(world))) {
      await it.go(path);
      await settled(it, heading);
      const out = await it.page.evaluate(() => {
        const found = [...document.querySelectorAll('.table-box')].filter((each) => each.scrollWidth > each.clientWidth).map((each) => `a table is ${each.scrollWidth - each.clientWidth} px too wide`);
        for (const cell of document.querySelectorAll('td')) {
          const text = document.createRange();
          text.selectNodeContents(cell);
          const over = text.getBoundingClientRect().right - cell.getBoundingClientRect().right;
          if (over > 1) found.push(`${cell.textContent.slice(0, 60)}: ${Math.round(over)} px`);
        }
        return found.slice(0, 5);
      });
      assert.deepEqual(out, [], path);
    }
  },

  async 'the first paint, and the page as a whole, are quick from loopback'({ open, note }) {
    const it = await open();
    await it.page.reload();
    await it.page.locator('.ledger').waitFor();
    const paint = await it.page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime);
    const bytes = await it.page.evaluate(() => performance.getEntriesByType('resource').filter((each) => each.name.includes('/console/')).reduce((sum, each) => sum + each.encodedBodySize, 0));
    note(`first contentful paint ${paint.toFixed(0)} ms, ${(bytes / 1000).toFixed(0)} KB of its own`);
    assert.ok(bytes < (process.env.CONSOLE_DIST ? 350_000 : 120_000)); // the server compresses them, a folder does not
  },

  async 'nothing may run or load that is not its own'({ open, world }) {
    const it = await open();
    const answer = await it.page.request.get(`${world.url}/console/`);
    const policy = answer.headers()['content-security-policy'];
    for (const part of ["script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]) assert.ok(policy.includes(part), policy);
    assert.ok(!/unsafe/.test(policy), policy);
    assert.ok(!/<script(?![^>]*src=)|<style|style=|onclick/i.test(await answer.text()));
    const there = await it.page.request.get(`${world.url}/console/devices/0123`);
    assert.match(await there.text(), /<div id="app">/);
    await it.go('/nowhere');
    await it.sees('There is no such page.');
  },

  async 'the charts move, and their figures stand beside them'({ open, note }) {
    const it = await open();
    await it.page.locator('.chart canvas').first().waitFor();
    assert.equal(await it.page.locator('.chart canvas').count(), 6);
    const says = await it.page.locator('.chart figcaption').first().textContent();
    assert.match(says, /sessions: now [\d,]+, at most [\d,]+ in the last hour/);
    const since = await it.page.waitForRequest((request) => /\/v1\/samples\?since=/.test(request.url()));
    assert.equal(since.headers()['x-sallyport-background'], '1');
    const middle = await it.page.evaluate(async () => {
      const box = document.querySelector('.plot').getBoundingClientRect();
      const frames = [];
      let at = performance.now();
      for (let i = 0; i < 40; i += 1) {
        document.querySelector('.u-over').dispatchEvent(new MouseEvent('mousemove', { clientX: box.left + 60 + i * 4, clientY: box.top + 50, bubbles: true }));
        await new Promise(requestAnimationFrame);
        frames.push(performance.now() - at);
        at = performance.now();
      }
      return frames.sort((a, b) => a - b)[20];
    });
    note(`a frame while the cursor moves over six charts: ${middle.toFixed(1)} ms`);
  },
};
