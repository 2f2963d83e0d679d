// What somebody chooses is what is changed: a choice outlives refreshes and paging, and never becomes "all"; each dialog
// says whom it hits beyond a name; the answer to "why?" is about what happened.
import assert from 'node:assert/strict';
import { until } from '../console.mjs';

// In the page's own session, as an operator.
function change(it, path) {
  return it.page.evaluate(async (where) => {
    const csrf = (await (await fetch('/console/session')).json()).csrf;
    return (await fetch(where, { method: 'POST', headers: { 'X-Sallyport-CSRF': csrf } })).status;
  }, path);
}

export const checks = {
  async 'a choice whose rows leave the page stays a choice, and its buttons stay where they are'({ open, ask }) {
    for (const name of ['shy-0', 'shy-1', 'shy-2']) await ask({ press: name });
    const it = await open({ at: '/approvals' });
    for (const name of ['shy-0', 'shy-1']) await it.row(name).getByRole('checkbox').check();
    const bar = it.page.locator('.bulk-chosen');
    await it.sees('2 selected', '.bulk-chosen');
    const approve = bar.getByRole('button', { name: 'Approve', exact: true });
    const before = await approve.boundingBox();
    for (const name of ['shy-0', 'shy-1']) {
      const [one] = (await it.api(`/v1/devices?cn_part=${name}`)).items;
      await ask({ cli: ['device', 'activate', one.id, '--yes'] });
    }
    await it.row('shy-0').waitFor({ state: 'detached' }); // the list refreshes by itself
    await it.sees('2 selected, 0 of them on this page', '.bulk-chosen');
    assert.deepEqual(await approve.boundingBox(), before);
    await approve.click();
    await it.sees('Approve 2 devices?', 'dialog[open] h2');
    await it.sees('shy-0', 'dialog[open] .whom');
    await it.sees('Nothing would change.', 'dialog[open]');
    assert.equal(await it.dialog.locator('button[type=submit]').isDisabled(), true);
    await it.page.keyboard.press('Escape');
    await it.button('Clear the selection').click();
    assert.equal(await approve.isDisabled(), true, 'nothing is chosen, and that is not all');
    assert.deepEqual(await approve.boundingBox(), before);
  },

  async 'a choice is kept from page to page, and hits the chosen alone'({ open }) {
    const it = await open({ at: '/devices' });
    await until('a whole page', async () => (await it.page.locator('tbody tr').count()) === 50);
    await it.page.locator('tbody tr').nth(2).getByRole('checkbox').check();
    await it.button('Next page').click();
    await it.sees('1 selected, 0 of them on this page', '.bulk-chosen');
    await it.page.locator('tbody tr').nth(1).getByRole('checkbox').check();
    await it.sees('2 selected, 1 of them on this page', '.bulk-chosen');
    await it.button('Deactivate').click();
    await it.sees('Deactivate 2 devices?', 'dialog[open] h2');
    await it.dialog.locator('.whom').waitFor();
    assert.equal(await it.dialog.locator('.whom li').count(), 2);
    await it.page.keyboard.press('Escape');
  },

  async 'all that match is what was looked at: who came since is left out'({ open }) {
    const it = await open({ at: '/devices?cn_part=meter-003' });
    const runs = [];
    await it.page.route('**/v1/devices/bulk', async (route) => {
      const asked = route.request().postDataJSON();
      if (!asked.dry_run) {
        runs.push(asked);
        await route.fulfill({ json: { matched: 10, would_change: 10, sessions: 0, changed: 10, failed: [], cursor: null, came_since: 1 } });
        return;
      }
      const answer = await route.fetch();
      await route.fulfill({ json: { ...(await answer.json()), as_of: '2026-11-30T00:00:00Z' } });
    });
    await it.row('meter-0030').waitFor();
    await it.does(it.button('Deactivate all'), { impact: '10 devices match', outcome: '1 device registered after you looked, and was left out.' });
    assert.deepEqual(runs.map((each) => each.as_of), ['2026-11-30T00:00:00Z']);
  },

  async 'who comes while the dialog is open is not approved by it'({ open, ask }) {
    await ask({ press: 'early-0' });
    const it = await open({ at: '/approvals' });
    await it.row('early-0').waitFor();
    await it.button('Approve all').click();
    await it.dialog.locator('.impact').first().waitFor();
    await new Promise((done) => setTimeout(done, 2100)); // as_of is a second's
    await ask({ press: 'tardy-0' });
    await it.dialog.locator('button[type=submit]').click();
    await it.sees('1 device registered after you looked, and was left out.', 'dialog[open]');
    await it.close();
    await it.row('tardy-0').waitFor();
    await it.row('early-0').waitFor({ state: 'detached' });
  },

  async 'a name in another part of the subject is nobody’s name'({ open }) {
    const it = await open({ at: '/refusals?reason=ca_unknown' });
    await it.row('evil-1').waitFor();
    await it.row('evil-2').waitFor();
    const names = await it.page.locator('tbody .name').allInnerTexts();
    assert.ok(!names.includes('meter-0001'), names.join('; '));
  },

  async 'a dialog says the id and the CA of whom it hits, and whose session is cut'({ open, world }) {
    const it = await open({ at: `/devices/${world.devices.active}` });
    const says = async (button, ...words) => {
      await button.click();
      for (const each of words) await it.sees(each, 'dialog[open] .whom');
      await it.page.keyboard.press('Escape');
      await it.dialog.waitFor({ state: 'detached' });
    };
    await says(it.button('Revoke'), 'meter-0000', world.devices.active.slice(0, 12), 'Fleet CA 2026');
    await it.go('/sessions?cn_part=meter-0003');
    await says(it.row('meter-0003').getByRole('button', { name: 'Cut' }), 'meter-0003', 'Fleet CA 2026', /127\.0\.0\.1:/);
    await it.go(`/cas/${world.cas.fleet}`);
    const { serial } = await it.api(`/v1/cas/${world.cas.fleet}`);
    await says(it.button('Deactivate'), 'Fleet CA 2026', world.cas.fleet.slice(0, 12), serial.slice(0, 12));
  },

  async 'names that look alike look different'({ open, world }) {
    const it = await open({ at: '/devices?cn_part=meter' });
    const shown = new Set();
    for (const cn of world.lookalikes) {
      const [one] = (await it.api(`/v1/devices?cn_part=${encodeURIComponent(cn)}`)).items.filter((each) => each.cn === cn);
      await it.go(`/devices/${one.id}`);
      await it.page.locator(`.facts :text("${one.id}")`).waitFor();
      const name = await it.page.locator('.subject').textContent();
      assert.match(name, /^[ -~]+$/, JSON.stringify(cn));
      assert.match(name, /\\u/, JSON.stringify(cn));
      shown.add(name);
    }
    assert.equal(shown.size, world.lookalikes.length);
    await it.go('/devices');
    await it.page.getByLabel('Common name contains').fill('meter-0001\\u00ad'); // as it is shown
    await until('the one', async () => (await it.page.locator('tbody tr').count()) === 1);
    await it.row('meter-0001\\u00ad').waitFor();
  },

  async 'why a broker was away is not answered by the certificate'({ open, ask, world }) {
    const it = await open({ at: '/brokers' });
    await it.row(world.broker).first().waitFor();
    const server = `/v1/upstreams/broker/servers/${encodeURIComponent(world.broker)}`;
    assert.equal(await change(it, `${server}/drain`), 200);
    assert.equal(await ask({ comes: 45 }), false);
    await it.go('/');
    await it.sees('Upstream broker has no server that takes new sessions');
    assert.equal(await change(it, `${server}/undrain`), 200);
    await it.go('/refusals?reason=broker_unavailable');
    const row = it.row('meter-0045');
    await row.getByRole('button', { name: /^Why/ }).click();
    await it.page.locator('#why .gate-stopped').waitFor();
    assert.match(await it.page.locator('#why .gate-stopped').innerText(), /^\s*9\. /);
    await it.sees('No broker can be reached', '#why');
    await it.sees('Look at the brokers, and at the broker’s log.', '#why');
    await it.sees('Its certificate is in good standing.', '#why');
    assert.equal(await it.page.locator('#why').getByText('It would be admitted now').count(), 0);
    assert.equal(await it.page.evaluate(() => document.activeElement?.id), 'why-title', 'the answer is where one is');
    await it.page.locator('#why').getByRole('button', { name: 'Close' }).click();
    await until('back in the row', () => it.page.evaluate(() => /Why/.test(document.activeElement?.textContent ?? '')));
  },

  async 'a tick stands only where something was found to be right'({ open, world }) {
    const it = await open({ at: '/refusals?reason=expired' });
    const gate = (number) => it.page.locator('#why .gate').nth(number - 1);
    await it.row('late').getByRole('button', { name: /^Why/ }).click();
    await it.page.locator('#why .gate-stopped').waitFor();
    assert.match(await gate(3).getAttribute('class'), /gate-open/, 'its dates were not passed');
    await it.go('/refusals?reason=device_inactive');
    await it.row('meter-0020').getByRole('button', { name: /^Why/ }).click();
    await it.page.locator('#why .gate-stopped').waitFor();
    const [group] = (await it.api('/v1/rejections/groups?reason=device_inactive&limit=10')).items.filter((each) => each.subject.includes('meter-0020'));
    const claimed = group.claimed_count === group.count;
    assert.match(await gate(1).getAttribute('class'), claimed ? /gate-open/ : /gate-passed/);
    const verb = it.page.locator('#why').getByRole('button', { name: 'Activate this device' });
    assert.equal(await verb.count(), claimed ? 0 : 1, 'what was only claimed is not let in by a click');
    await it.go('/refusals?reason=bad_signature');
    await it.row('<b>bold</b>').getByRole('button', { name: /^Why/ }).click();
    await it.page.locator('#why .remedy').waitFor();
    assert.equal(await it.page.locator('#why').getByText('Register this CA').count(), 0, 'a forged certificate leads to no trust');
    await it.go(`/devices/${world.devices.active}`);
    await it.page.locator('.decision .gate').first().waitFor();
    assert.match(await it.page.locator('.decision .gate').first().getAttribute('class'), /gate-open/, 'nobody has shown the key');
  },

  async 'a remedy leads to what it is about'({ open }) {
    const it = await open({ at: '/refusals?reason=not_registered' });
    await it.row('tire-1').getByRole('button', { name: /^Why/ }).click();
    await it.page.locator('#why').getByRole('link', { name: 'Register this device' }).click();
    assert.equal(await it.heading(), 'Register devices');
    await it.sees('tire-1', '.note');
    await it.go('/refusals?reason=ca_inactive');
    await it.row('old-1').getByRole('button', { name: /^Why/ }).click();
    await it.page.locator('#why').getByRole('link', { name: 'Look at its CA' }).click();
    await it.sees('Retired line CA', '.subject');
    // Of CAs of one name each says its serial.
    await it.go('/devices');
    const twins = it.page.getByLabel('CA', { exact: true }).locator('option').filter({ hasText: 'By hand CA' });
    await until('both', async () => (await twins.count()) === 2);
    const words = await twins.allInnerTexts();
    assert.equal(new Set(words).size, 2, words.join());
  },

  async 'an answer and a fault stand only beside what they are about'({ open, world }) {
    const it = await open({ at: '/refusals' });
    const chain = it.page.locator('.try').getByLabel('Choose a file: Ask about a certificate');
    await chain.setInputFiles(world.files.expired);
    await it.button('Explain').click();
    await it.page.locator('.try .decision').waitFor();
    await chain.setInputFiles(world.files.server_chain);
    await it.page.locator('.try .decision').waitFor({ state: 'detached' });
    await chain.setInputFiles(world.files.der_key);
    await it.sees('This holds a private key. It was not sent.', '.try .fault');
    assert.equal(await it.page.locator('.try textarea').inputValue(), '');
    await it.go('/server-certificates');
    await it.page.getByLabel('Choose a file: Private key').setInputFiles(world.files.server_chain);
    await it.sees('This is a certificate. Here its private key is wanted.', '.fault');
  },

  async 'what has happened is never in the future'({ open, ask }) {
    const it = await open({ signed_in: false });
    await it.page.clock.install({ time: Date.now() - 90_000 }); // a clock that is behind the server's
    await it.sign_in(it.world.operator);
    await ask({ crowd: 1 });
    await it.go('/sessions?client_id_part=crowd-');
    await it.row('crowd-0').waitFor();
    const since = await it.row('crowd-0').locator('time').innerText();
    assert.ok(!/^in /.test(since), since);
    await ask({ ended: 'crowd', close: true });
  },
};
