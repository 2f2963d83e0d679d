// Machines that share a registry: the console of one shows the sessions and refusals of all, and cuts there. The checks
// come in this order: the last one takes a machine away.
import assert from 'node:assert/strict';
import { until } from '../console.mjs';

const machine = (it) => it.page.getByLabel('Machine', { exact: true });
const names = async (it) => (await it.page.locator('tbody tr').allInnerTexts()).map((row) => /at-\d|more-\d/.exec(row)?.[0]).sort();
const shows = (it, wanted) => until(`the list is ${wanted}`, async () => JSON.stringify(await names(it)) === JSON.stringify(wanted));

export const checks = {
  async 'sessions of another machine, or of all, are seen and cut'({ open, ask }) {
    await ask({ hold: ['more-1', 1] });
    const it = await open({ at: '/sessions' });
    await shows(it, ['at-0']);
    assert.deepEqual(await machine(it).locator('option').allInnerTexts(), ['this one', 'edge-0', 'edge-1', 'edge-2', 'all machines']);
    await machine(it).selectOption('edge-1');
    await shows(it, ['at-1', 'more-1']);
    await it.sees('Every session of edge-1:');
    await it.does(it.row('more-1').getByRole('button', { name: 'Cut' }), { impact: '1 connection is closed.', outcome: '1 session cut.' });
    assert.ok(await ask({ ended: 'more-1' }));
    await machine(it).selectOption('all machines');
    await shows(it, ['at-0', 'at-1', 'at-2']);
    for (const [name, node] of [['at-0', 'edge-0'], ['at-1', 'edge-1'], ['at-2', 'edge-2']]) assert.match(await it.row(name).innerText(), new RegExp(node));
    for (const name of ['at-0', 'at-2']) await it.row(name).getByRole('checkbox').check();
    await it.sees('2 selected', '.bulk-chosen');
    await it.does(it.page.locator('.bulk-chosen').getByRole('button', { name: 'Cut' }), { impact: '2 connections are closed.', outcome: '2 sessions cut.' });
    assert.ok((await ask({ ended: 'at-0' })) && (await ask({ ended: 'at-2' })));
    await shows(it, ['at-1']);
    await it.does(it.button('Cut all that match'), { impact: 'this is every session of all 3 machines', type: 'cut', outcome: '1 session cut.' });
    assert.ok(await ask({ ended: 'at-1' }));
    await it.sees('Nobody is connected.');
    const cuts = (await it.api('/v1/audit?limit=20')).items.filter((each) => each.action.startsWith('session.cut'));
    assert.equal(cuts.length, 4);
  },

  async 'a refusal of another machine is seen, and why'({ open }) {
    const it = await open({ at: '/refusals', role: 'viewer' });
    await it.sees('Nobody was refused lately.');
    await machine(it).selectOption('all machines');
    await it.row('unknown at 1').waitFor();
    assert.match(await it.row('unknown at 1').innerText(), /edge-1/);
    await it.row('unknown at 1').getByRole('button').click();
    await it.sees('Remedy:');
    await machine(it).selectOption('edge-1');
    await it.row('unknown at 1').getByRole('button').click();
    await it.sees('Remedy:');
  },

  async 'a device leads to its sessions on all machines; a viewer cuts none'({ open, ask }) {
    await ask({ hold: ['at-1', 1] });
    await ask({ hold: ['at-2', 2] });
    const it = await open({ at: '/devices?cn_part=at-2', role: 'viewer' });
    await it.row('at-2').first().getByRole('link').first().click();
    await it.page.getByRole('link', { name: 'Its sessions on all machines' }).click();
    await shows(it, ['at-2']);
    assert.equal(await it.button('Cut').count(), 0);
  },

  async 'a machine that does not answer is named, and the others are shown'({ open, ask }) {
    await ask({ stop: 2 });
    const it = await open({ at: '/sessions?node=*' });
    await it.sees('No answer from edge-2: what is there is not shown, and is not cut.');
    await shows(it, ['at-1']);
    await it.button('Cut all that match').click();
    await it.sees('No answer from edge-2', 'dialog[open]');
    await it.page.keyboard.press('Escape');
    await machine(it).selectOption('edge-2');
    await it.sees('was last heard of', '.problem');
  },
};
