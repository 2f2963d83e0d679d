// The list of devices where there are a million (million.py): each step is done as a person does it, its time is told.
import assert from 'node:assert/strict';

export const checks = {
  async 'a million devices are listed, paged, searched and filtered'({ open, note, world }) {
    const it = await open();
    const timed = async (what, act) => {
      const began = Date.now();
      await act();
      note(`${what}: ${Date.now() - began} ms`);
    };
    const rows = it.page.locator('tbody tr');
    await timed('the list opens', async () => {
      await it.go('/devices');
      await rows.nth(20).waitFor();
    });
    await timed('the next page', async () => {
      await it.button('Next page').click();
      await it.sees(/Page 2/);
      await rows.nth(20).waitFor();
    });
    const odd = world.devices - 7;
    await timed('a search by common name', async () => {
      await it.go(`/devices?cn_part=meter-${odd}`);
      await it.row(`meter-${odd}`).first().waitFor();
    });
    const digits = (1000 + odd).toString(16).toUpperCase();
    const serial = digits.padStart(digits.length + (digits.length % 2), '0'); // whole bytes, as a certificate has them
    await timed('a search by serial', async () => {
      await it.go(`/devices?serial_prefix=${serial}`);
      await it.row(`meter-${odd}`).first().waitFor();
    });
    await timed('a search that finds nobody', async () => {
      await it.go('/devices?cn_part=nobody-has-this-name');
      await it.sees('Nothing matches.');
    });
    await timed('one device', async () => {
      await it.go(`/devices?serial_prefix=${serial}`);
      await it.row(`meter-${odd}`).first().getByRole('link').first().click();
      await it.sees('The decision, now');
    });
    for (const path of ['/v1/devices?limit=100', '/v1/devices?limit=100&cn_part=nobody', '/v1/devices?limit=100&status=revoked', '/v1/status']) {
      const took = await it.page.evaluate(async (where) => {
        const times = [];
        for (let i = 0; i < 20; ++i) {
          const began = performance.now();
          await (await fetch(where, { headers: { 'X-Sallyport-Background': '1' } })).text();
          times.push(performance.now() - began);
        }
        return times.sort((a, b) => a - b)[10];
      }, path);
      note(`${path}: ${took.toFixed(1)} ms, the median of 20, in the browser`);
    }
    // registry_scale left some of them inactive.
    const counts = Object.values((await it.api('/v1/status')).devices);
    assert.equal(counts.reduce((sum, each) => sum + each, 0), world.devices);
  },
};
