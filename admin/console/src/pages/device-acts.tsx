// What can be done to devices, one or many, with its impact.
import { ask } from '../api/http';
import { bulk, one_device, type DeviceVerb, type Target } from '../api/acts';
import type { Bulk, Device } from '../api/objects';
import { go } from '../route';
import { texts } from '../texts';
import { act } from '../ui/act';
import { Name, Short, visible } from '../ui/words';

const DANGER: DeviceVerb[] = ['revoke', 'delete', 'deactivate'];

export function verbs_of(device: Device): DeviceVerb[] {
  switch (device.status) {
    case 'active':
      return ['deactivate', 'revoke', 'delete'];
    case 'inactive':
      return ['activate', 'revoke', 'delete'];
    case 'pending':
      return ['approve', 'revoke', 'delete'];
    case 'revoked':
      // A revoked one is kept until it would have ended by itself.
      return device.not_after && Date.parse(device.not_after) < Date.now() ? ['delete'] : [];
  }
}

export function act_on_device(verb: DeviceVerb, device: { id: string; cn: string }, away?: string): void {
  const t = texts.peek().devices;
  const name = visible(device.cn) || device.id.slice(0, 12);
  act({
    title: t.act.title[verb](` ${name} `.trim()),
    verb: t[verb],
    danger: DANGER.includes(verb),
    ...(verb === 'revoke' ? { type: t.act.word['revoke'] ?? 'revoke' } : {}),
    impact: async () => {
      const found = await ask<Device>(`/v1/devices/${device.id}`);
      const cuts = verb === 'deactivate' || verb === 'revoke' || verb === 'delete';
      return (
        <>
          <p>{t.act.means[verb]}</p>
          {cuts && <p class="impact">{t.act.one_cut(found.sessions)}</p>}
        </>
      );
    },
    run: async () => {
      const done = await one_device(verb, device.id);
      if (verb === 'delete') return <p>{t.act.done_deleted(name)}</p>;
      return <p>{t.act.done_one(name, texts.peek().status[done.status] ?? done.status)}</p>;
    },
    ...(away && verb === 'delete' ? { after: () => go(away) } : {}),
  });
}

function Refused({ found }: { found: Bulk }) {
  const t = texts.value.devices.act;
  const more = found.failed_omitted ?? 0;
  if (found.failed.length === 0) return null;
  return (
    <div class="refused-ones">
      <p>{t.bulk_refused(found.failed.length + more)}</p>
      <ul>
        {found.failed.slice(0, 20).map((each) => (
          <li key={each.id}>
            {each.cn ? <Name>{each.cn}</Name> : <Short id={each.id} />}: <bdi lang="en">{each.error}</bdi>
          </li>
        ))}
      </ul>
      {found.failed.length + more > 20 && <p>{t.more_refused(found.failed.length + more - 20)}</p>}
    </div>
  );
}

export function act_on_many(verb: DeviceVerb, target: Target, done?: () => void): void {
  const t = texts.peek().devices;
  let would = 0;
  const everything = 'filter' in target && Object.keys(target.filter).length === 0 && verb !== 'approve';
  act({
    title: t.act.title[verb]('ids' in target ? t.act.many(target.ids.length) : t.act.all_matching),
    verb: t[verb],
    danger: DANGER.includes(verb),
    ...(verb === 'revoke' || everything ? { type: t.act.word[verb] ?? t[verb] } : {}),
    impact: async (stop) => {
      const found = await bulk(verb, target, true, undefined, stop);
      would = found.would_change;
      const cuts = verb === 'deactivate' || verb === 'revoke' || verb === 'delete';
      return (
        <>
          {everything && <p class="impact">{t.act.everything}</p>}
          <p class="impact">{t.act.bulk(found.matched, found.would_change)}</p>
          {cuts && <p class="impact">{t.act.bulk_cut(found.sessions)}</p>}
          {found.would_change === 0 ? <p>{t.act.nothing}</p> : <p>{t.act.means[verb]}</p>}
          <Refused found={found} />
        </>
      );
    },
    possible: () => would > 0,
    run: async (progress) => {
      const found = await bulk(verb, target, false, (sum) => progress(sum.changed, would));
      return (
        <>
          <p>{t.act.done_bulk(found.changed, found.failed.length + (found.failed_omitted ?? 0))}</p>
          <Refused found={found} />
        </>
      );
    },
    ...(done ? { after: done } : {}),
  });
}
