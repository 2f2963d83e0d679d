// The console as a person uses it: by the words, roles and labels that are on the page.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';

export const PATIENCE = Number(process.env.PATIENCE ?? 20_000);

export class Console {
  static async open(browser, world, { role = 'operator', at = '/', signed_in = true, width = 1280, scheme = 'light', locale = 'en-GB' } = {}) {
    const context = await browser.newContext({ viewport: { width, height: 860 }, colorScheme: scheme, locale, acceptDownloads: true });
    context.setDefaultTimeout(PATIENCE);
    if (process.env.CONSOLE_DIST) await serve_from(process.env.CONSOLE_DIST, context);
    const page = await context.newPage();
    const made = new Console(world, context, page);
    await page.goto(`${world.url}/console${at}`);
    if (signed_in) await made.sign_in(world[role]);
    return made;
  }

  constructor(world, context, page) {
    this.world = world;
    this.context = context;
    this.page = page;
    this.trouble = [];
    page.on('pageerror', (error) => this.trouble.push(`page error: ${error.message}`));
    page.on('dialog', (dialog) => {
      this.trouble.push(`a dialog of the browser: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('console', (line) => {
      const text = line.text();
      // The browser itself logs each answer of 4xx and each server that is away; what the page makes of them is checked.
      if (line.type() === 'error' && !/Failed to load resource|net::ERR/.test(text)) this.trouble.push(`console: ${text}`);
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(world.url) && !request.url().startsWith('blob:')) this.trouble.push(`loaded from elsewhere: ${request.url()}`);
    });
  }

  no_trouble() {
    assert.deepEqual(this.trouble, []);
  }

  async sign_in(token) {
    await this.page.locator('#token').fill(token);
    await this.page.keyboard.press('Enter');
    await this.page.locator('.frame').waitFor();
  }

  // By its links, as a person: the page is not loaded anew.
  async go(path) {
    await this.page.evaluate((to) => {
      history.pushState(null, '', `/console${to}`);
      dispatchEvent(new PopStateEvent('popstate'));
    }, path);
  }

  heading() {
    return this.page.locator('main h1').innerText();
  }

  async sees(text, within = 'main') {
    await this.page.locator(within).getByText(text).first().waitFor();
  }

  async sees_not(text, within = 'main') {
    await this.page.locator(within).getByText(text).first().waitFor({ state: 'hidden' });
  }

  button(name, within = 'main') {
    return this.page.locator(within).getByRole('button', { name, exact: true });
  }

  row(text) {
    return this.page.locator('tbody tr').filter({ hasText: text });
  }

  get dialog() {
    return this.page.locator('dialog[open]');
  }

  // Opens a dialog by `button`, checks what it says it will hit, does it, and checks what it says was done.
  async does(button, { impact, type, verb, outcome, pick }) {
    await button.click();
    await this.dialog.waitFor();
    if (impact) await this.sees(impact, 'dialog[open]');
    const submit = this.dialog.locator('button[type=submit]');
    if (verb) assert.equal(await submit.innerText(), verb);
    if (type) {
      assert.equal(await submit.isDisabled(), true, 'not before the word is typed');
      await this.dialog.locator('input:not([type])').fill(type);
    }
    if (pick) await pick(this.dialog);
    await submit.click();
    await this.sees(outcome, 'dialog[open]');
    await this.close();
  }

  // As does(), where the server refuses: its words and a remedy, and nothing else has happened.
  async is_refused(button, { type, refusal, remedy, pick }) {
    await button.click();
    await this.dialog.waitFor();
    if (type) await this.dialog.locator('input:not([type])').fill(type);
    if (pick) await pick(this.dialog);
    await this.dialog.locator('button[type=submit]').click();
    await this.sees(refusal, 'dialog[open] .problem');
    await this.sees(remedy, 'dialog[open] .problem');
    await this.page.keyboard.press('Escape');
    await this.dialog.waitFor({ state: 'detached' });
  }

  async close() {
    await this.dialog.getByRole('button', { name: /^(Close|关闭)$/ }).click();
    await this.dialog.waitFor({ state: 'detached' });
  }

  // In the page's own session, as its scripts ask.
  api(path) {
    return this.page.evaluate(async (where) => (await fetch(where, { headers: { 'X-Sallyport-Background': '1' } })).json(), path);
  }
}

// CONSOLE_DIST: the page's files from that folder in place of those in the binary, so that a change of the page is tried
// without building the server. Its policy is the server's.
async function serve_from(folder, context) {
  const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
  const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";
  const own = (url) => url.pathname.startsWith('/console') && url.pathname !== '/console/session';
  await context.route(own, (route) => {
    const name = new URL(route.request().url()).pathname.slice('/console'.length);
    const file = path.join(folder, path.extname(name) ? name : 'index.html');
    return route.fulfill({ body: fs.readFileSync(file), headers: { 'content-type': types[path.extname(file)], 'content-security-policy': policy } });
  });
}

export async function until(what, condition) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((done) => setTimeout(done, 60));
  }
}

export const PAGES = {
  '/': ['Overview', '概览'],
  '/refusals': ['Refusals', '拒绝记录'],
  '/audit': ['Audit', '审计'],
  '/cas': ['CA certificates', 'CA 证书'],
  '/cas/register': ['Register a CA certificate', '注册 CA 证书'],
  '/devices': ['Device certificates', '设备证书'],
  '/import': ['Register devices', '注册设备'],
  '/approvals': ['Approvals', '待审批'],
  '/crls': ['Revocation lists', '吊销列表'],
  '/server-certificates': ['Server certificates', '服务器证书'],
  '/sessions': ['Sessions', '会话'],
  '/listeners': ['Listeners', '监听器'],
  '/brokers': ['Brokers', '消息服务器'],
  '/tokens': ['Tokens', '令牌'],
  '/backup': ['Backup', '备份'],
  '/settings': ['Settings', '配置'],
};

// Those above, and one of each detail.
export function all_pages(world) {
  return { ...PAGES, [`/cas/${world.cas.fleet}`]: ['CA certificate', 'CA 证书'], [`/devices/${world.devices.active}`]: ['Device certificate', '设备证书'] };
}
