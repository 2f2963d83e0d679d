// What strangers chose is text: markup, marks that turn the direction, 256 bytes. And the keyboard alone does all.
import assert from 'node:assert/strict';
import { until } from '../console.mjs';

export const checks = {
  async 'hostile names are shown as text, wherever they come up'({ open, world }) {
    const it = await open({ at: '/devices?cn_part=%3C' });
    await it.row('<img src=x onerror=alert(1)>').waitFor();
    await it.row("<script>document.title='owned'</script>").waitFor();
    await it.row('<img src=x').getByRole('link').first().click();
    assert.equal(await it.heading(), 'Device certificate');
    await it.sees('<img src=x onerror=alert(1)>', '.subject');
    await it.page.locator('svg.chain text').filter({ hasText: '<img src=x' }).first().waitFor();
    await it.button('Deactivate').click();
    await it.sees('Deactivate <img src=x onerror=alert(1)>?', 'dialog[open] h2');
    await it.page.keyboard.press('Escape');
    await it.go('/sessions');
    await it.row('client of <img src=x').waitFor();
    await it.go('/refusals');
    await it.row('<b>bold</b>').waitFor();
    await it.go('/devices');
    for (const cn of world.hostile) {
      await it.page.getByLabel('Common name contains').fill(cn.slice(0, 12));
      await until(`found: ${JSON.stringify(cn)}`, async () => (await it.page.locator('tbody tr').count()) === 1);
    }
    assert.equal(await it.page.locator('main img, main script, main b').count(), 0);
    assert.match(await it.page.title(), /Sallyport$/);
  },

  async 'marks that turn the direction are shown by their number, and stay in their cell'({ open }) {
    const it = await open({ at: '/devices' });
    await it.page.getByLabel('Common name contains').fill('gnp.exe');
    await it.row('\\u202egnp.exe\\u202c right to left').waitFor();
    const text = await it.page.locator('body').innerText();
    assert.ok(!/[\u202a-\u202e\u2066-\u2069\u200e\u200f]/.test(text), 'no mark reaches the page');
  },

  async 'a name of 256 bytes breaks, and nothing is pushed aside'({ open, world }) {
    const it = await open({ width: 360, at: `/devices/${world.devices.long}` });
    await it.sees('Device certificate', 'h1');
    await it.page.locator('.subject').waitFor();
    assert.ok((await it.page.locator('.facts').innerText()).includes('n'.repeat(200)));
    assert.ok((await it.page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0);
  },

  async 'the keyboard alone signs in, walks, changes something and comes back to its button'({ open, world }) {
    const it = await open({ signed_in: false });
    const { keyboard } = it.page;
    await it.page.waitForFunction(() => document.activeElement?.id === 'token');
    await keyboard.insertText(world.operator);
    await keyboard.press('Enter');
    await it.page.locator('.frame').waitFor();
    const active = () => it.page.evaluate(() => document.activeElement?.textContent?.trim() ?? '');
    const tab_to = async (wanted) => {
      for (let i = 0; i < 60; i += 1) {
        await keyboard.press('Tab');
        if ((await active()) === wanted) {
          // Where one is can be seen.
          assert.notEqual(await it.page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), 'none', wanted);
          return;
        }
      }
      assert.fail(`Tab never comes to ${wanted}`);
    };
    await tab_to('Skip to the content');
    await tab_to('CA certificates');
    await keyboard.press('Enter');
    await it.row('Pilot CA').waitFor();
    assert.equal(await it.page.evaluate(() => document.activeElement?.id), 'main', 'reading begins at the page');
    await it.go('/cas?q=Pilot');
    await until('one row', async () => (await it.page.locator('tbody tr').count()) === 1);
    await tab_to('Deactivate');
    await keyboard.press('Enter');
    await it.dialog.locator('.impact').waitFor();
    await keyboard.press('Escape');
    await it.dialog.waitFor({ state: 'detached' });
    assert.equal(await active(), 'Deactivate', 'back at its button');
    await keyboard.press('Enter');
    await it.dialog.locator('.impact').waitFor();
    await tab_to('Deactivate');
    await keyboard.press('Enter');
    await it.sees('Pilot CA is inactive.', 'dialog[open]');
    await until('Close has the focus', async () => (await active()) === 'Close');
    await keyboard.press('Enter');
    await it.dialog.waitFor({ state: 'detached' });
    await it.row('Pilot CA').getByRole('button', { name: 'Activate' }).waitFor();
  },

  async 'a thousand live sessions are a list like any other'({ open, ask, note }) {
    await ask({ crowd: 1000 });
    const it = await open({ at: '/sessions' });
    await until('a hundred of them', async () => (await it.page.locator('tbody tr').count()) === 100);
    await it.button('Next page').click();
    await it.sees('Page 2');
    const began = Date.now();
    await it.page.getByLabel('Client id contains').fill('crowd-999');
    await until('the one', async () => (await it.page.locator('tbody tr').count()) === 1);
    note(`one of a thousand sessions found in ${Date.now() - began} ms, typing included`);
    await ask({ ended: 'crowd', close: true });
  },
};
