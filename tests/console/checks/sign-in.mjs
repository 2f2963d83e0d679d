// Signing in and out, the end of a session and of the server in the middle.
import assert from 'node:assert/strict';
import { until } from '../console.mjs';

export const checks = {
  async 'a wrong token is refused in words, a right one let in, and neither is kept'({ open, world }) {
    const it = await open({ signed_in: false });
    await it.page.locator('#token').fill('sallyport_' + '0'.repeat(64));
    await it.page.keyboard.press('Enter');
    await it.sees('The server does not know this token');
    await it.page.locator('#token').fill('');
    await it.page.keyboard.press('Enter');
    await it.sees('Paste a token first.');
    await it.sign_in(world.operator);
    const kept = await it.page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]));
    assert.ok(!kept.includes('sallyport_'), kept);
    const [cookie] = await it.context.cookies();
    assert.equal(cookie.httpOnly && cookie.sameSite === 'Strict', true, JSON.stringify(cookie));
    assert.ok(!cookie.value.includes(world.operator.slice(12)));
  },

  async 'an address below is reached after signing in, and signing out ends the session'({ open, world }) {
    const it = await open({ at: '/cas?q=Plant' });
    assert.equal(await it.heading(), 'CA certificates');
    await it.row('Plant CA').waitFor();
    await it.sees_not('Fleet CA');
    await it.page.getByRole('button', { name: 'Sign out' }).click();
    await it.sees('You are signed out.');
    assert.equal(await it.page.evaluate(async () => (await fetch('/v1/status')).status), 401);
    await it.page.reload();
    await it.page.locator('#token').waitFor();
    await it.sign_in(world.viewer);
    await it.row('Plant CA').waitFor();
  },

  async 'a session that ends in the middle leads back to where one was'({ open, ask, world }) {
    const token = await ask({ token: 'operator', name: 'short-lived' });
    const it = await open({ signed_in: false, at: '/sessions?clones=true' });
    await it.sign_in(token);
    await it.row('meter-0010').first().waitFor();
    await ask({ cli: ['token', 'revoke', 'short-lived', '--yes'] });
    await it.sees('Your session has ended.', 'body'); // by itself: the list is asked for every five seconds
    assert.equal(await it.page.locator('tbody').count(), 0, 'nothing of it is left on the screen');
    await it.sign_in(world.operator);
    assert.match(it.page.url(), /\/sessions\?clones=true$/);
    await it.row('meter-0010').first().waitFor();
  },

  async 'the last minute before the idle end is said, and a click prolongs it'({ open }) {
    const it = await open({ signed_in: false });
    await it.page.clock.install();
    await it.sign_in(it.world.operator);
    await it.page.clock.fastForward('14:20');
    await it.sees('Nothing was done for a while', '.banner');
    await it.page.getByRole('button', { name: 'Stay signed in' }).click();
    await it.page.locator('.banner').waitFor({ state: 'detached' });
    await it.page.clock.fastForward('15:10');
    await it.sees('Your session has ended.', 'body');
  },

  async 'polling says that it is polling, a click does not'({ open }) {
    const it = await open({ at: '/brokers' });
    await it.sees('edge');
    const asked = [];
    it.page.on('request', (request) => asked.push([new URL(request.url()).pathname, 'x-sallyport-background' in request.headers()]));
    await until('it polls', () => asked.some(([path, polling]) => path === '/v1/upstreams' && polling));
    assert.ok(!asked.some(([, polling]) => !polling), JSON.stringify(asked));
    await it.page.getByRole('link', { name: 'Tokens' }).click();
    await until('the click is a person', () => asked.some(([path, polling]) => path === '/v1/tokens' && !polling));
  },

  async 'a restart in the middle is a banner, then it goes on by itself'({ open, ask }) {
    const it = await open({ at: '/brokers' });
    await it.row('Down').waitFor();
    await it.page.evaluate(() => {
      window.same_page = true;
    });
    await ask({ stop: true });
    await it.sees('The server does not answer.', '.banner'); // by itself: the list is asked for every three seconds
    assert.equal(await it.row('Down').count(), 1, 'what was seen stays');
    await it.button('Drain').first().click();
    await it.sees('Nothing was changed as far as this page knows', 'dialog[open]');
    await it.sees_not('The server refused this', 'dialog[open]');
    await it.page.keyboard.press('Escape');
    // What is not known is not said to be empty.
    for (const path of ['/sessions', '/approvals', '/audit', '/devices']) {
      await it.go(path);
      await it.sees('Loading…', '.pager');
      assert.equal(await it.page.locator('main .empty').count(), 0, path);
    }
    await it.go('/brokers');
    await ask({ start: true });
    await it.page.locator('.banner').waitFor({ state: 'detached' });
    if ((await it.page.locator('#token').count()) > 0) {
      // Its sessions live in the server's memory: then it says so, and leads back.
      await it.sees('The server was started anew.', 'body');
      await it.sign_in(it.world.operator);
    }
    assert.equal(await it.heading(), 'Brokers');
    await it.button('Drain').first().click();
    await it.sees('No new session goes to it.', 'dialog[open]');
    await it.page.keyboard.press('Escape');
    assert.equal(await it.page.evaluate(() => window.same_page), true, 'it was not loaded anew');
  },

  // The last one: whoever guesses is kept out for a while, and so is everybody at the same address.
  async 'who tries too many wrong tokens is told how long to wait'({ open }) {
    const it = await open({ signed_in: false });
    await it.page.evaluate(async () => {
      for (let i = 0; i < 12; i += 1) {
        await fetch('/console/session', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ token: `no-${i}` }) });
      }
    });
    await it.page.locator('#token').fill('no');
    await it.page.keyboard.press('Enter');
    await it.sees(/Too many attempts\. Try again in \d+ s\./);
  },
};
