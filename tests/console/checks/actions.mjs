// Every action: what it says it will hit, what it does, and what is shown where the server refuses.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { until } from '../console.mjs';

// The page reads a file after the choice: what it `says` then is waited for.
async function choose(it, label, file, says = `Read from ${path.basename(file)}`) {
  await it.page.locator('main').getByLabel(`Choose a file: ${label}`).setInputFiles(file);
  await it.sees(says);
}

// Nothing but questions goes to the server meanwhile.
async function stays_here(it, what) {
  const sent = [];
  const note = (request) => request.method() !== 'GET' && sent.push(`${request.method()} ${request.url()}`);
  it.page.on('request', note);
  await what();
  it.page.off('request', note);
  assert.deepEqual(sent, []);
}

export const checks = {
  async 'a CA is registered by the wizard, and what is wrong is said where it is wrong'({ open, ask }) {
    const it = await open({ at: '/cas' });
    await it.page.getByRole('link', { name: 'Register a CA' }).click();
    await it.button('Get a code').click();
    const code = await it.page.locator('.big-code').innerText();
    assert.match(code, /^[0-9a-f]{32,}$/);
    const commands = await it.page.locator('.commands pre').innerText();
    assert.ok(commands.includes(`/CN=${code}`) && commands.includes('-CA CA.crt -CAkey CA.key'), commands);
    const made = await ask({ signed: { commands, code } }); // the very commands, run by a shell
    const fault = async (ca, proof, says, hint) => {
      await choose(it, 'CA certificate', ca);
      await choose(it, 'Verification certificate', proof);
      await it.button('Register the CA').click();
      await it.sees(says, 'main .fault');
      await it.sees(hint, 'main .fault');
    };
    await it.button('Register the CA').click();
    await it.sees('Both certificates are needed.');
    await fault(made.ca, made.wrong_code, 'The code is not right', 'letter for letter');
    await fault(made.ca, made.wrong_key, 'The proof is not signed by this CA', 'of the very CA you hand in');
    await fault(made.leaf, made.proof, 'This is not a CA certificate that can be used', 'not a device’s');
    await choose(it, 'CA certificate', made.key, 'This holds a private key. It was not sent.');
    await fault(made.text, made.proof, 'The file cannot be read', 'PEM');
    await choose(it, 'CA certificate', made.ca);
    await it.page.getByLabel('New devices wait for approval').check();
    await it.button('Register the CA').click();
    await it.sees('Line 7 CA is registered and active.');
    await it.page.getByRole('link', { name: 'See the CA' }).click();
    await it.sees('Line 7 CA');
    const [ca] = (await it.api('/v1/cas?limit=1000')).items.filter((each) => each.cn === 'Line 7 CA');
    assert.deepEqual([ca.status, ca.auto_register, ca.approve], ['active', true, true]);
  },

  async 'a CA is deactivated with its sessions named and cut, activated, switched, and deleted with all it has'({ open, ask, world }) {
    const it = await open({ at: `/cas/${world.cas.spare}` });
    await it.sees('2 sessions of 2 devices');
    await it.does(it.button('Deactivate'), {
      impact: '2 live sessions of 2 devices are cut at once.',
      verb: 'Deactivate',
      outcome: 'Spare CA is inactive. Its sessions are cut.',
    });
    assert.deepEqual(await ask({ ended: 'spare' }), ['close_notify', 'close_notify']);
    await it.does(it.button('Activate'), { impact: 'those that are active by themselves, 3 of them', outcome: 'Spare CA is active.' });
    const approve = it.page.getByRole('switch', { name: 'New devices wait for approval' });
    assert.equal(await approve.getAttribute('aria-checked'), 'false');
    await it.does(approve, { impact: 'A new device is stored and refused until an operator approves it.', outcome: 'and wait for approval' });
    await until('it is on', async () => (await approve.getAttribute('aria-checked')) === 'true');
    const text = fs.readFileSync(await (await Promise.all([it.page.waitForEvent('download'), it.button('Download').click()]))[0].path(), 'utf8');
    assert.match(text, /^-----BEGIN CERTIFICATE-----/);
    await it.button('Delete').click();
    await it.dialog.locator('input:not([type])').fill('delete');
    await it.sees('it can only be deleted with all of them', 'dialog[open]');
    assert.equal(await it.dialog.locator('button[type=submit]').isDisabled(), true, 'what the server would refuse is not offered');
    await it.page.keyboard.press('Escape');
    await it.does(it.button('Delete'), {
      impact: '3 devices: 3 active',
      type: 'delete',
      pick: (dialog) => dialog.getByLabel('Delete it with all of its devices').check(),
      outcome: 'Spare CA is deleted.',
    });
    assert.equal(await it.heading(), 'CA certificates');
    assert.equal(await it.row('Spare CA').count(), 0);
  },

  async 'a device is deactivated, its session cut, activated, revoked for good and not deleted before its end'({ open, ask, world }) {
    const it = await open({ at: `/devices/${world.devices.online}` });
    const chain = /Device meter-0001, Active; Registered CA Fleet CA 2026, Active/;
    await until('the chain is drawn', async () => chain.test((await it.page.locator('svg.chain').getAttribute('aria-label')) ?? ''));
    await it.does(it.button('Deactivate'), { impact: '1 live session is cut at once.', outcome: 'meter-0001: Inactive.' });
    assert.deepEqual(await ask({ ended: 'meter-0001' }), ['close_notify']);
    await it.page.locator('.gate-stopped').getByText('Stopped here').waitFor();
    assert.match(await it.page.locator('.gate-stopped').innerText(), /^\s*3\. Its own status/);
    await it.does(it.button('Activate'), { impact: 'if its CA and its dates allow it', outcome: 'meter-0001: Active.' });
    await it.page.locator('.gate-stopped').waitFor({ state: 'detached' });
    await it.does(it.button('Revoke'), { impact: 'This cannot be taken back', type: 'revoke', outcome: 'meter-0001: Revoked.' });
    await it.sees('device.revoke');
    assert.equal(await it.button('Delete').count(), 0, 'kept until its end');
    const refused = await it.page.evaluate(async (id) => {
      const csrf = (await (await fetch('/console/session')).json()).csrf;
      return (await fetch(`/v1/devices/${id}`, { method: 'DELETE', headers: { 'X-Sallyport-CSRF': csrf } })).status;
    }, world.devices.online);
    assert.equal(refused, 409);
  },

  async 'a device is deleted, and its page leads back to the list'({ open, world }) {
    const it = await open({ at: `/devices/${world.devices.forgotten}` });
    await it.does(it.button('Delete'), { impact: 'it is registered anew', outcome: 'is forgotten.' });
    assert.equal(await it.heading(), 'Device certificates');
    await it.go(`/devices/${world.devices.forgotten}`);
    await it.sees('It is gone, or was never there.');
  },

  async 'a device that another operator revoked meanwhile: the refusal and its remedy are shown'({ open, ask, world }) {
    const it = await open({ at: `/devices/${world.devices.inactive}` });
    await it.button('Activate').click();
    await it.dialog.locator('.impact, p').first().waitFor();
    await ask({ cli: ['device', 'revoke', world.devices.inactive, '--yes'] });
    await it.dialog.locator('button[type=submit]').click();
    await it.sees('revoked', 'dialog[open] .problem');
    await it.sees('Remove what stands in the way', 'dialog[open] .problem');
    await it.page.keyboard.press('Escape');
    await it.button('Activate').waitFor({ state: 'detached' }); // the page has looked again
  },

  async 'devices are searched on the server and changed in bulk, by choice and by filter'({ open }) {
    const it = await open({ at: '/devices' });
    await it.page.getByLabel('Common name contains').fill('BULK-');
    await until('the filter is in the address', () => it.page.url().includes('cn_part=BULK-'));
    await until('six of them', async () => (await it.row('bulk-').count()) === 6);
    await it.row('bulk-0').getByRole('checkbox').check();
    await it.row('bulk-1').getByRole('checkbox').check();
    await it.sees('2 selected');
    await it.does(it.button('Deactivate'), { impact: '2 devices match; 2 of them change.', outcome: '2 devices changed. In force now.' });
    await until('two inactive', async () => (await it.page.locator('tbody').getByText('Inactive').count()) === 2);
    await it.does(it.button('Activate all'), { impact: '6 devices match; 2 of them change.', outcome: '2 devices changed.' });
    await it.does(it.button('Revoke all'), { impact: '6 devices match; 6 of them change.', type: 'revoke', outcome: '6 devices changed.' });
    await it.button('Activate all').click();
    await it.sees('A rule refuses 6 of them', 'dialog[open]');
    await it.sees('Nothing would change.', 'dialog[open]');
    assert.equal(await it.dialog.locator('button[type=submit]').isDisabled(), true);
    await it.page.keyboard.press('Escape');
    const [first] = (await it.api('/v1/devices?cn_part=bulk-3')).items;
    await it.button('Clear the filters').click();
    await it.page.getByLabel('Serial begins with').fill(first.serial.slice(0, 10).toLowerCase());
    await until('one is left', async () => (await it.page.locator('tbody tr').count()) === 1);
    await it.row('bulk-3').waitFor();
    await it.go('/devices?status=revoked&expires_before=2000-01-01');
    await it.sees('Nothing matches.');
  },

  async 'a page of devices leads to the next and back'({ open }) {
    const it = await open({ at: '/devices' });
    await until('a whole page', async () => (await it.page.locator('tbody tr').count()) === 50);
    // By its address: the rest of a row may come later, as its CA's name does, or say how long ago something was.
    const top = () => it.page.locator('tbody tr a').first().getAttribute('href');
    const first = await top();
    await it.button('Next page').click();
    await it.sees('Page 2');
    await until('another one', async () => (await top()) !== first);
    await it.button('Previous page').click();
    await until('the same', async () => (await top()) === first);
  },

  async 'who waits is approved, one and all'({ open, world }) {
    const it = await open({ at: '/approvals' });
    await it.row('press-0').waitFor();
    await it.does(it.row('press-0').getByRole('button', { name: 'Approve' }), { impact: 'It is admitted when it connects next.', outcome: 'press-0: Active.' });
    await it.row('press-0').waitFor({ state: 'detached' });
    await it.does(it.button('Approve all'), { impact: 'devices match', outcome: 'changed. In force now.' });
    await it.sees('Nobody is waiting.');
    assert.ok(world);
  },

  async 'a bundle is imported with progress, and its faults are named by their line'({ open, world }) {
    const it = await open({ at: '/import' });
    await choose(it, 'Bundle', world.files.bundle, 'bundle.pem, ');
    await it.does(it.button('Import'), { impact: 'No session is cut.', outcome: 'Working…' });
    await it.sees('40 registered, 0 there already, 2 refused.');
    const row = it.row('Its CA is not registered');
    assert.equal(await row.locator('td').first().innerText(), '1');
    await it.row('unreadable').waitFor();
    await it.page.getByLabel('Or paste certificates').fill(fs.readFileSync(world.files.with_key, 'utf8'));
    await stays_here(it, async () => {
      await it.button('Import').click();
      await it.sees('This holds a private key. It was not sent.', '.fault');
      await it.page.locator('main').getByLabel('Choose a file: Bundle').setInputFiles(world.files.wrong_key);
      await it.sees('This holds a private key. It was not sent.', '.fault');
    });
    assert.equal(await it.dialog.count(), 0);
    await it.page.locator('main').getByLabel('Choose a file: Bundle').setInputFiles(world.files.noise);
    await it.does(it.button('Import'), { outcome: 'Working…' });
    await it.sees('No certificate was found in it.', '.note');
  },

  async 'a CRL is imported, and one of another key is refused'({ open, world }) {
    const it = await open({ at: '/crls' });
    await it.sees('No list has been imported.');
    const input = it.page.locator('main').getByLabel('Choose a file: CRL, DER or PEM');
    await stays_here(it, async () => {
      for (const key of [world.files.server_key, world.files.der_key]) {
        await input.setInputFiles(key);
        await it.sees('This is, or holds, a private key. It was not sent.', '.fault');
      }
    });
    const send = async (file) => {
      await input.setInputFiles(file);
      await it.sees('Every serial that it names becomes revoked for good', 'dialog[open]');
      await it.sees('This cannot be undone.', 'dialog[open]');
      assert.equal(await it.dialog.locator('button[type=submit]').isDisabled(), true, 'not before the word is typed');
      await it.dialog.locator('input:not([type])').fill('import');
      await it.dialog.locator('button[type=submit]').click();
    };
    await send(world.files.strange_crl);
    await it.sees('Register the CA that issued this list first.', 'dialog[open] .problem');
    await it.page.keyboard.press('Escape');
    await send(world.files.forged_crl);
    await it.dialog.locator('.problem').waitFor();
    await it.page.keyboard.press('Escape');
    await send(world.files.crl);
    await it.sees('2 entries: 1 revoked now, 0 on hold, 1 of devices not seen yet', 'dialog[open]');
    await it.close();
    await it.row('Fleet CA 2026').waitFor();
  },

  async 'a server certificate is hosted, used, kept while it is in use, and deleted'({ open, ask, world }) {
    const it = await open({ at: '/server-certificates' });
    await choose(it, 'Certificate with its chain', world.files.server_chain);
    await choose(it, 'Private key', world.files.wrong_key);
    await it.is_refused(it.button('Host a certificate'), { refusal: 'key', remedy: 'Correct what is named above' });
    await choose(it, 'Private key', world.files.server_key);
    await it.does(it.button('Host a certificate'), { impact: 'Nothing changes for devices until a listener uses it.', outcome: 'second.example is hosted.' });
    await it.go('/listeners');
    const plant = it.row('plant');
    await it.does(plant.getByRole('button', { name: 'Use another certificate' }), {
      impact: 'No connection is dropped.',
      pick: (dialog) => dialog.getByRole('radio').first().check(),
      outcome: 'plant shows it to new connections.',
    });
    assert.match(await ask({ shown_by: 'plant' }), /second\.example/);
    await it.go('/server-certificates');
    await it.row('second.example').getByRole('button', { name: 'Delete' }).click();
    await it.dialog.locator('input:not([type])').fill('delete');
    await it.sees('In use by plant: choose another one there first.', 'dialog[open]');
    assert.equal(await it.dialog.locator('button[type=submit]').isDisabled(), true, 'what the server would refuse is not offered');
    await it.page.keyboard.press('Escape');
    await it.go('/listeners');
    await it.does(plant.getByRole('button', { name: 'Reset' }), { impact: 'What was chosen here is dropped', outcome: 'plant: authentication is Mutual.' });
    assert.match(await ask({ shown_by: 'plant' }), /localhost/);
    await it.go('/server-certificates');
    await it.does(it.row('second.example').getByRole('button', { name: 'Delete' }), { impact: 'erased from this server', type: 'delete', outcome: 'is deleted.' });
    await it.sees('None is hosted.');
  },

  async 'a listener goes one-way and back, with the consequences named'({ open }) {
    const it = await open({ at: '/listeners' });
    const plant = it.row('plant');
    await it.does(plant.getByRole('button', { name: 'Switch to one-way' }), {
      impact: 'Anybody who reaches this address gets through to the broker.',
      type: 'plant',
      outcome: 'plant: authentication is One-way.',
    });
    await plant.getByText('chosen here').first().waitFor();
    await it.does(plant.getByRole('button', { name: 'Switch to mutual' }), { impact: 'sessions that began without a certificate are cut', outcome: 'plant: authentication is Mutual.' });
    await it.does(plant.getByRole('button', { name: 'Reset' }), { outcome: 'authentication is Mutual.' });
  },

  async 'sessions are filtered and cut, one, some and all that match'({ open, ask }) {
    await ask({ crowd: 12 });
    const it = await open({ at: '/sessions?client_id_part=crowd-' });
    await until('twelve', async () => (await it.row('crowd-').count()) === 12);
    await it.does(it.row('crowd-11').getByRole('button', { name: 'Cut' }), { impact: '1 connection is closed.', outcome: '1 session cut.' });
    await it.row('crowd-10').getByRole('checkbox').check();
    await it.row('crowd-9').getByRole('checkbox').check();
    await it.does(it.page.locator('.bulk-chosen').getByRole('button', { name: 'Cut' }), { impact: '2 connections are closed.', outcome: '2 sessions cut.' });
    await it.does(it.button('Cut all that match'), { impact: '9 connections are closed.', outcome: '9 sessions cut.' });
    await it.sees('Nothing matches.');
    assert.deepEqual(new Set(await ask({ ended: 'crowd' })), new Set(['close_notify']));
    await it.button('Clear the filters').click();
    await it.page.getByLabel('Only clones').check();
    await until('both of the pair', async () => (await it.row('meter-0010').count()) === 2);
  },

  async 'a broker is drained and taken back, and the last one says so'({ open }) {
    const it = await open({ at: '/brokers' });
    const rows = it.page.locator('section').filter({ has: it.page.getByRole('heading', { name: 'edge' }) }).locator('tbody tr');
    const up = rows.filter({ hasText: 'Up' });
    await rows.filter({ hasText: 'Down' }).waitFor();
    await it.does(up.getByRole('button', { name: 'Drain' }), { impact: 'It is the only server of this upstream that is up', outcome: 'gets no new session.' });
    await it.does(rows.filter({ hasText: 'Drained' }).getByRole('button', { name: 'Take back' }), { impact: 'New sessions go to it again', outcome: 'gets new sessions again.' });
  },

  async 'a refusal is explained as a path that ends where it failed, with a click to the remedy'({ open, ask, world }) {
    const it = await open({ at: '/refusals' });
    await it.row('unknown-7').getByRole('button', { name: /^Why unknown-7/ }).click();
    await it.page.locator('#why .gate-stopped').getByText('Stopped here').waitFor();
    assert.match(await it.page.locator('#why .gate-stopped').innerText(), /4\. A path to a registered CA/);
    assert.equal(await it.page.locator('#why .gate-ahead').count(), 4);
    await it.page.locator('#why').getByRole('link', { name: 'Register this CA' }).click();
    assert.equal(await it.heading(), 'Register a CA certificate');
    // From a device that waits, to letting it in.
    await ask({ press: 'late-press' });
    await it.go('/refusals?reason=device_pending');
    await it.row('late-press').getByRole('button', { name: /^Why/ }).click();
    await it.does(it.page.locator('#why').getByRole('button', { name: 'Approve this device' }), { impact: 'It is admitted when it connects next.', outcome: 'late-press: Active.' });
    await it.sees('It would be admitted now.', '#why');
    assert.equal(await ask({ press_again: 'late-press' }), 0);
    // A chain that somebody has in hand.
    await choose(it, 'Ask about a certificate', world.files.expired);
    await it.button('Explain').click();
    await it.sees('A certificate has ended', '.try .decision');
    await it.go('/refusals?reason=bad_signature');
    await it.sees('<b>bold</b>');
  },

  async 'a viewer is led to where it can be seen'({ open }) {
    const it = await open({ role: 'viewer', at: '/refusals?reason=device_inactive' });
    await it.page.getByRole('button', { name: /^Why/ }).first().click();
    await it.page.locator('#why').getByRole('link', { name: 'See the device' }).click();
    assert.equal(await it.heading(), 'Device certificate');
  },

  async 'a token is made and shown once, works, and is revoked; the own one signs out'({ open, ask, world }) {
    const it = await open({ at: '/tokens' });
    await it.page.getByLabel('Name', { exact: true }).fill('grafana');
    let token = '';
    await it.button('Create a token').click();
    await it.sees('Whoever has it may look at everything', 'dialog[open]');
    await it.dialog.locator('button[type=submit]').click();
    token = await it.dialog.locator('.secret').innerText();
    await it.close();
    await it.row('grafana').waitFor();
    assert.ok(!(await it.page.content()).includes(token), 'it is shown this once');
    const other = await open({ signed_in: false });
    await other.sign_in(token);
    await it.page.getByLabel('Name', { exact: true }).fill('grafana');
    await it.is_refused(it.button('Create a token'), { refusal: 'grafana', remedy: 'Remove what stands in the way' });
    await it.does(it.row('grafana').getByRole('button', { name: 'Revoke' }), { impact: 'Whoever uses it is out at once', type: 'revoke', outcome: 'grafana is revoked.' });
    await other.sees('Your session has ended.', 'body');
    const own = await open({ signed_in: false, at: '/tokens' });
    await own.sign_in(await ask({ token: 'operator', name: 'mine' }));
    await own.button('Revoke').first().waitFor();
    await own.row('mine').getByRole('button', { name: 'Revoke' }).click();
    await own.sees('It is the one you are signed in with', 'dialog[open]');
    await own.dialog.locator('input:not([type])').fill('revoke');
    await own.dialog.locator('button[type=submit]').click();
    await own.page.locator('#token').waitFor();
    assert.ok(world);
  },

  async 'a backup is made and verified, and a name that is taken is refused'({ open }) {
    const it = await open({ at: '/backup' });
    await it.sees('Backups go to');
    await it.page.getByLabel('Name of its folder').fill('by-console');
    await it.does(it.button('Make a backup'), { impact: 'Devices notice nothing.', outcome: /Verified: .*by-console, \d+ files/ });
    await it.is_refused(it.button('Make a backup'), { refusal: 'by-console', remedy: /./ });
    await it.row('by-console').waitFor();
  },

  async 'settings are searched, the file is read again, a bad one changes nothing, ticket keys are rotated'({ open, ask }) {
    const it = await open({ at: '/settings' });
    await it.page.getByLabel('Key contains').fill('clones');
    await until('of each listener', async () => (await it.page.locator('tbody tr').count()) === 3);
    await it.page.getByLabel('Only what differs').check();
    await until('one is set', async () => (await it.page.locator('tbody tr').count()) === 1);
    await it.sees('alert');
    await it.does(it.button('Reload the configuration'), { impact: 'A bad file changes nothing.', outcome: 'Read, and all in force.' });
    await ask({ config: 'nonsense = 1' });
    await it.is_refused(it.button('Reload the configuration'), { refusal: 'nonsense', remedy: 'Remove what stands in the way' });
    await ask({ config: '' });
    await it.does(it.button('Reload the configuration'), { outcome: 'Read, and all in force.' });
    await it.does(it.button('Rotate the ticket keys'), { impact: 'each device makes one full handshake', outcome: 'New tickets are under new keys.' });
    await it.go('/audit');
    await it.sees('ticket-keys.rotate');
  },
};
