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
import { AllBar, SelectionBar } from '../ui/selection';
import { Standing } from '../ui/status';
import { Table, type Column } from '../ui/table';
import { as_written, count, Ends, Name, Seen, Short, visible } from '../ui/words';
import { ca_options } from './ca-acts';
import { act_on_many } from './device-acts';

const FILTERS = ['cn_part', 'serial_prefix', 'ca', 'status', 'expires_before', 'expires_after'] as const;
const VERBS: DeviceVerb[] = ['activate', 'deactivate', 'revoke', 'delete'];

interface DeviceTableProps {
  rows: Device[];
  chosen?: Map<string, Device>;
  choose?: (chosen: Map<string, Device>) => void;
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
    if (value) filter[name] = name.startsWith('expires') ? instant(value) : name === 'serial_prefix' ? value.replace(/^0x|[:\s]/gi, '') : as_written(value);
  }
  const pages = usePages<Device>('/v1/devices', filter, 50, 15);
  const cas = useAll<Ca>('/v1/cas');
  const [chosen, choose] = useState(new Map<string, Device>());
  const set = (name: string) => (value: string) => {
    choose(new Map());
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
          options={[['', texts.value.ui.all], ...ca_options(cas.data?.items ?? [])]}
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
          <button type="button" class="button button-plain" onClick={() => {
              choose(new Map());
              go('/devices', true);
            }}>
            {texts.value.ui.clear}
          </button>
        )}
      </div>
      {may_change.value && <Bars chosen={chosen} shown={pages.items.map((one) => one.id)} filter={filter} clear={() => choose(new Map())} />}
      {pages.problem && <ProblemBox problem={pages.problem} />}
      {pages.empty && <Empty>{filtered ? texts.value.ui.nothing_found : t.empty}</Empty>}
      {pages.items.length > 0 && <DeviceTable rows={pages.items} {...(may_change.value ? { chosen, choose } : {})} />}
      <Pager pages={pages} />
    </Page>
  );
}

interface BarsProps {
  chosen: Map<string, Device>;
  shown: string[];
  filter: Record<string, string>;
  clear: () => void;
}

function Bars({ chosen, shown, filter, clear }: BarsProps) {
  const t = texts.value.devices;
  const style = (verb: DeviceVerb) => `button button-small${verb === 'revoke' || verb === 'delete' ? ' button-quiet-danger' : ''}`;
  return (
    <>
      <AllBar label={Object.keys(filter).length > 0 ? t.bulk_filter : t.bulk_everything}>
        {VERBS.map((verb) => (
          <button key={verb} type="button" class={style(verb)} disabled={shown.length === 0} onClick={() => act_on_many(verb, { filter, name: t.act.all_matching }, clear)}>
            {t.all_of[verb]}
          </button>
        ))}
      </AllBar>
      <SelectionBar chosen={chosen} shown={shown} clear={clear}>
        {(none) =>
          VERBS.map((verb) => (
            <button key={verb} type="button" class={style(verb)} disabled={none} onClick={() => act_on_many(verb, { chosen }, clear)}>
              {t[verb]}
            </button>
          ))
        }
      </SelectionBar>
    </>
  );
}
