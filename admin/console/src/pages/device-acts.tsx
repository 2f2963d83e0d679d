// What can be done to devices, one or many, with its impact.
import { ask } from '../api/http';
import { bulk, cas_by_id, one_device, type DeviceVerb, type Target } from '../api/acts';
import type { Bulk, Ca, Device } from '../api/objects';
import { go } from '../route';
import { texts } from '../texts';
import { act } from '../ui/act';
import { Whom, whom_device, whom_devices } from '../ui/whom';
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
    ...(verb === 'revoke' ? { type: t.act.word['revoke'] ?? 'revoke', for_good: true } : {}),
    impact: async () => {
      const [found, cas] = await Promise.all([ask<Device>(`/v1/devices/${device.id}`), cas_by_id()]);
      const cuts = verb === 'deactivate' || verb === 'revoke' || verb === 'delete';
      return (
        <>
          <Whom all={[whom_device(found, cas)]} />
          <p>{t.act.means[verb]}</p>
          {cuts && <p class="impact">{t.act.one_cut(found.sessions)}</p>}
        </>
      );
    },
    run: async () => {
      const done = await one_device(verb, device.id);
      if (verb === 'delete') return <p>{t.act.done_deleted(name)}</p>;
      return <p>{t.act.done_one(visible(done.cn) || name, texts.peek().status[done.status] ?? done.status)}</p>;
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

// The filter as its fields say it.
function filter_words(filter: Record<string, string>, cas: Map<string, Ca>): string {
  const t = texts.peek().devices;
  const labels: Record<string, string> = { cn_part: t.cn, serial_prefix: t.serial, ca: t.ca, status: t.status, expires_before: t.before, expires_after: t.after };
  const said = (name: string, value: string) => {
    if (name === 'ca') return `${cas.get(value)?.cn ?? ''} ${value.slice(0, 12)}`.trim();
    return name === 'status' ? (texts.peek().status[value] ?? value) : value;
  };
  return Object.entries(filter)
    .map(([name, value]) => `${labels[name] ?? name}: ${visible(said(name, value))}`)
    .join('; ');
}

// `what`: the chosen ones, or a filter with its name in words.
export type Many = { chosen: Map<string, Device> } | { filter: Record<string, string>; name: string };

export function act_on_many(verb: DeviceVerb, what: Many, done?: () => void): void {
  const t = texts.peek().devices;
  let would = 0;
  let as_of: string | undefined;
  const target: Target = 'chosen' in what ? { ids: [...what.chosen.keys()] } : { filter: what.filter };
  const everything = 'filter' in what && Object.keys(what.filter).length === 0;
  act({
    title: t.act.title[verb]('chosen' in what ? t.act.many(what.chosen.size) : what.name),
    verb: t[verb],
    danger: DANGER.includes(verb),
    ...(verb === 'revoke' || everything ? { type: t.act.word[verb] ?? t[verb] } : {}),
    for_good: verb === 'revoke' || verb === 'delete',
    impact: async (stop) => {
      const [found, cas] = await Promise.all([bulk(verb, target, true, undefined, stop), cas_by_id()]);
      would = found.would_change;
      as_of = found.as_of;
      const cuts = verb === 'deactivate' || verb === 'revoke' || verb === 'delete';
      return (
        <>
          {'chosen' in what && <Whom all={whom_devices(what.chosen.values(), cas)} />}
          {'filter' in what && !everything && (
            <p class="quiet">
              <bdi>{filter_words(what.filter, cas)}</bdi>
            </p>
          )}
          {everything && <p class="impact">{t.act.everything}</p>}
          <p class="impact">{t.act.bulk(found.matched, found.would_change)}</p>
          {cuts && <p class="impact">{t.act.bulk_cut(found.sessions)}</p>}
          {found.would_change === 0 ? <p>{t.act.nothing}</p> : <p>{found.would_change === 1 ? t.act.means[verb] : t.act.means_many[verb]}</p>}
          <Refused found={found} />
        </>
      );
    },
    possible: () => would > 0,
    run: async (progress) => {
      const found = await bulk(verb, target, false, (sum) => progress(sum.changed, would), undefined, as_of);
      return (
        <>
          <p>{t.act.done_bulk(found.changed, found.failed.length + (found.failed_omitted ?? 0))}</p>
          {(found.came_since ?? 0) > 0 && <p>{t.act.came_since(found.came_since ?? 0)}</p>}
          <Refused found={found} />
        </>
      );
    },
    ...(done ? { after: done } : {}),
  });
}
