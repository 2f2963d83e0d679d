// Devices, a million perhaps: searched on the server, a page at a time. What is chosen, or all that match, can be
// changed at once.
import { useState } from 'preact/hooks';
import { useAll, usePages } from '../api/live';
import type { DeviceVerb } from '../api/acts';
import type { Ca, Device } from '../api/objects';
import { asking, go, Link, place } from '../route';
import { may_change } from '../session';
import { texts } from '../texts';
import { Choice, Empty, Page, Pager, TextFilter } from '../ui/page';
import { ProblemBox } from '../ui/problem';
import { Standing } from '../ui/status';
import { Table, type Column } from '../ui/table';
import { count, Ends, Name, Seen, Short, visible } from '../ui/words';
import { act_on_many } from './device-acts';

const FILTERS = ['cn_part', 'serial_prefix', 'ca', 'status', 'expires_before', 'expires_after'] as const;
const VERBS: DeviceVerb[] = ['activate', 'deactivate', 'revoke', 'delete'];

interface DeviceTableProps {
  rows: Device[];
  chosen?: Set<string>;
  choose?: (chosen: Set<string>) => void;
  acts?: (device: Device) => preact.ComponentChildren;
}

export function DeviceTable({ rows, chosen, choose, acts }: DeviceTableProps) {
  const t = texts.value.devices;
  const columns: Column<Device>[] = [
    {
      head: t.name,
      class: 'col-name',
      cell: (device) => (
        <Link to={`/devices/${device.id}`}>{device.cn ? <Name>{device.cn}</Name> : <Short id={device.id} />}</Link>
      ),
    },
    { head: t.status, cell: (device) => <Standing own={device.status} effective={device.effective_status} /> },
    { head: t.sessions, class: 'col-number', cell: (device) => (device.sessions ? <Link to={`/sessions?device=${device.id}`}>{count(device.sessions)}</Link> : <span class="quiet">0</span>) },
    { head: t.seen, cell: (device) => <Seen at={device.last_seen} to={device.last_seen_to} /> },
    { head: t.ends, cell: (device) => <Ends at={device.not_after} /> },
    { head: t.serial_number, cell: (device) => <Short id={device.serial} digits={16} /> },
  ];
  if (acts) columns.push({ head: texts.value.ui.actions, acts: true, cell: acts });
  return (
    <Table
      label={t.title}
      columns={columns}
      rows={rows}
      id={(device) => device.id}
      name={(device) => visible(device.cn) || device.id.slice(0, 12)}
      {...(chosen && choose ? { chosen, choose } : {})}
    />
  );
}

// A day of the page's filters as the API wants it.
function instant(day: string): string {
  return day.length === 10 ? `${day}T00:00:00Z` : day;
}

export function Devices() {
  const t = texts.value.devices;
  const query = place.value.query;
  const of = (name: string) => query.get(name) ?? '';
  const filter: Record<string, string> = {};
  for (const name of FILTERS) {
    const value = of(name).trim();
    if (value) filter[name] = name.startsWith('expires') ? instant(value) : name === 'serial_prefix' ? value.replace(/[:\s]/g, '') : value;
  }
  const pages = usePages<Device>('/v1/devices', filter, 50, 15);
  const cas = useAll<Ca>('/v1/cas');
  const [chosen, choose] = useState(new Set<string>());
  const set = (name: string) => (value: string) => {
    choose(new Set());
    go(asking({ [name]: value }), true);
  };
  const filtered = Object.keys(filter).length > 0;
  return (
    <Page
      title={t.title}
      lead={t.lead}
      aside={
        may_change.value && (
          <Link to="/import" class="button button-main">
            {t.register}
          </Link>
        )
      }
    >
      <div class="filters" role="search">
        <TextFilter label={t.cn} value={of('cn_part')} on={set('cn_part')} />
        <TextFilter label={t.serial} value={of('serial_prefix')} on={set('serial_prefix')} />
        <Choice
          label={t.ca}
          value={of('ca')}
          on={set('ca')}
          options={[['', texts.value.ui.all], ...(cas.data?.items ?? []).map((ca): [string, string] => [ca.id, visible(ca.cn || ca.subject)])]}
        />
        <Choice
          label={t.status}
          value={of('status')}
          on={set('status')}
          options={[['', texts.value.ui.all], ...(['active', 'inactive', 'pending', 'revoked'] as const).map((each): [string, string] => [each, texts.value.status[each] ?? each])]}
        />
        <TextFilter label={t.after} type="date" value={of('expires_after')} on={set('expires_after')} narrow />
        <TextFilter label={t.before} type="date" value={of('expires_before')} on={set('expires_before')} narrow />
        {filtered && (
          <button type="button" class="button button-plain" onClick={() => go('/devices', true)}>
            {texts.value.ui.clear}
          </button>
        )}
      </div>
      {may_change.value && <BulkBar chosen={chosen} filter={filter} done={() => choose(new Set())} />}
      {pages.problem && <ProblemBox problem={pages.problem} />}
      {!pages.loading && !pages.problem && pages.items.length === 0 && <Empty>{filtered ? texts.value.ui.nothing_found : t.empty}</Empty>}
      {pages.items.length > 0 && <DeviceTable rows={pages.items} {...(may_change.value ? { chosen, choose } : {})} />}
      <Pager pages={pages} />
    </Page>
  );
}

function BulkBar({ chosen, filter, done }: { chosen: Set<string>; filter: Record<string, string>; done: () => void }) {
  const t = texts.value.devices;
  const some = chosen.size > 0;
  const target = some ? { ids: [...chosen] } : { filter };
  return (
    <div class="bulk" role="group" aria-label={texts.value.ui.actions}>
      <span class="bulk-on">{some ? texts.value.ui.selected(chosen.size) : t.bulk_filter}:</span>
      {VERBS.map((verb) => (
        <button key={verb} type="button" class={`button button-small${verb === 'revoke' || verb === 'delete' ? ' button-quiet-danger' : ''}`} onClick={() => act_on_many(verb, target, done)}>
          {t[verb]}
        </button>
      ))}
    </div>
  );
}
