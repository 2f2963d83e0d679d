// Who is connected now, and cutting some of them.
import { useState } from 'preact/hooks';
import { cas_by_id, cut_sessions } from '../api/acts';
import { useAll, usePages } from '../api/live';
import type { Ca, Listener, LiveSession } from '../api/objects';
import { asking, go, Link, place } from '../route';
import { may_change } from '../session';
import { texts } from '../texts';
import { act } from '../ui/act';
import { Choice, Empty, Page, Pager, TextFilter, Tick } from '../ui/page';
import { ProblemBox } from '../ui/problem';
import { AllBar, SelectionBar } from '../ui/selection';
import { Table, type Column } from '../ui/table';
import { Whom, whom_session } from '../ui/whom';
import { Ago, as_written, Name, Short, visible } from '../ui/words';
import { ca_options } from './ca-acts';

const FILTERS = ['cn_part', 'client_id_part', 'peer', 'listener', 'ca', 'device', 'clones'] as const;

function cut_some(which: LiveSession[], done?: () => void): void {
  const t = texts.peek().sessions;
  const ids = which.map((each) => each.id);
  let matched = 0;
  act({
    title: t.act.title(ids.length),
    verb: t.cut,
    danger: true,
    impact: async () => {
      const [found, cas] = await Promise.all([cut_sessions({ ids }, true), cas_by_id()]);
      matched = found.matched;
      return (
        <>
          <Whom all={which.map((each) => whom_session(each, cas))} />
          <p class="impact">{matched ? t.act.impact(matched) : t.act.none}</p>
        </>
      );
    },
    possible: () => matched > 0,
    run: async (progress) => {
      const found = await cut_sessions({ ids }, false, (cut) => progress(cut, ids.length));
      return <p>{t.act.done(found.cut)}</p>;
    },
    ...(done ? { after: done } : {}),
  });
}

function cut_matching(filter: Record<string, string | boolean>): void {
  const t = texts.peek().sessions;
  const everything = Object.keys(filter).length === 0;
  let matched = 0;
  act({
    title: t.act.title_all,
    verb: t.cut,
    danger: true,
    ...(everything ? { type: t.cut.toLowerCase() } : {}),
    impact: async () => {
      matched = (await cut_sessions({ filter }, true)).matched;
      return (
        <>
          {everything && <p class="impact">{t.act.everything}</p>}
          <p class="impact">{matched ? t.act.impact(matched) : t.act.none}</p>
        </>
      );
    },
    possible: () => matched > 0,
    run: async (progress) => {
      const found = await cut_sessions({ filter }, false, (cut) => progress(cut, matched));
      return <p>{t.act.done(found.cut)}</p>;
    },
  });
}

interface SessionTableProps {
  rows: LiveSession[];
  chosen?: Map<string, LiveSession>;
  choose?: (chosen: Map<string, LiveSession>) => void;
}

export function SessionTable({ rows, chosen, choose }: SessionTableProps) {
  const t = texts.value.sessions;
  const columns: Column<LiveSession>[] = [
    {
      head: t.device,
      class: 'col-name',
      cell: (one) =>
        one.device_id ? (
          <Link to={`/devices/${one.device_id}`}>{one.cn ? <Name>{one.cn}</Name> : <Short id={one.device_id} />}</Link>
        ) : (
          <span class="quiet">{t.without}</span>
        ),
    },
    { head: t.client_id, class: 'col-name', cell: (one) => <Name>{one.client_id}</Name> },
    { head: t.listener, cell: (one) => <bdi>{one.listener}</bdi> },
    { head: t.peer, cell: (one) => <span class="mono">{one.peer}</span> },
    { head: t.broker, cell: (one) => <span class="mono">{one.server ?? '–'}</span> },
    {
      head: t.protocol,
      cell: (one) => (
        <span class="stack col-number">
          <span>{one.mqtt_version ? `MQTT ${one.mqtt_version}` : 'TCP'}</span>
          <span class="quiet">
            TLS {one.tls_version ?? '–'}
            {one.resumed && `, ${t.resumed}`}
          </span>
        </span>
      ),
    },
    { head: t.since, cell: (one) => <Ago at={one.since} /> },
  ];
  if (may_change.value)
    columns.push({
      head: texts.value.ui.actions,
      acts: true,
      cell: (one) => (
        <button type="button" class="button button-small button-quiet-danger" onClick={() => cut_some([one])}>
          {t.cut}
        </button>
      ),
    });
  return (
    <Table
      label={t.title}
      columns={columns}
      rows={rows}
      id={(one) => one.id}
      name={(one) => visible(one.cn ?? one.client_id)}
      {...(chosen && choose ? { chosen, choose } : {})}
    />
  );
}

export function Sessions() {
  const t = texts.value.sessions;
  const query = place.value.query;
  const of = (name: string) => query.get(name) ?? '';
  const filter: Record<string, string | boolean> = {};
  for (const name of FILTERS) {
    const value = of(name).trim();
    if (value) filter[name] = name === 'clones' ? true : as_written(value);
  }
  const pages = usePages<LiveSession>('/v1/sessions', filter, 100, 5);
  const listeners = useAll<Listener>('/v1/listeners');
  const cas = useAll<Ca>('/v1/cas');
  const [chosen, choose] = useState(new Map<string, LiveSession>());
  const clear = () => choose(new Map());
  const set = (name: string) => (value: string) => {
    clear();
    go(asking({ [name]: value }), true);
  };
  const filtered = Object.keys(filter).length > 0;
  const device = of('device');
  return (
    <Page title={t.title} lead={t.lead}>
      <div class="filters" role="search">
        <TextFilter label={texts.value.devices.cn} value={of('cn_part')} on={set('cn_part')} />
        <TextFilter label={t.client_id_part} value={of('client_id_part')} on={set('client_id_part')} />
        <TextFilter label={t.peer_filter} value={of('peer')} on={set('peer')} />
        <Choice label={t.listener} value={of('listener')} on={set('listener')} options={[['', texts.value.ui.all], ...(listeners.data?.items ?? []).map((each): [string, string] => [each.name, each.name])]} />
        <Choice label={texts.value.devices.ca} value={of('ca')} on={set('ca')} options={[['', texts.value.ui.all], ...ca_options(cas.data?.items ?? [])]} />
        <Tick label={t.clones} value={of('clones') === 'true'} on={(on) => set('clones')(on ? 'true' : '')} hint={t.clones_says} />
        {filtered && (
          <button type="button" class="button button-plain" onClick={() => {
              clear();
              go('/sessions', true);
            }}>
            {texts.value.ui.clear}
          </button>
        )}
      </div>
      {device && (
        <p>
          {t.device}:{' '}
          <Link to={`/devices/${device}`}>
            <Short id={device} />
          </Link>
        </p>
      )}
      {may_change.value && (
        <>
          <AllBar label={filtered ? t.bulk_filter : t.bulk_everything}>
            <button type="button" class="button button-small button-quiet-danger" disabled={pages.items.length === 0} onClick={() => cut_matching(filter)}>
              {t.cut_all}
            </button>
          </AllBar>
          <SelectionBar chosen={chosen} shown={pages.items.map((one) => one.id)} clear={clear}>
            {(none) => (
              <button type="button" class="button button-small button-quiet-danger" disabled={none} onClick={() => cut_some([...chosen.values()], clear)}>
                {t.cut}
              </button>
            )}
          </SelectionBar>
        </>
      )}
      {pages.problem && <ProblemBox problem={pages.problem} />}
      {pages.empty && <Empty>{filtered ? texts.value.ui.nothing_found : t.empty}</Empty>}
      {pages.items.length > 0 && <SessionTable rows={pages.items} {...(may_change.value ? { chosen, choose } : {})} />}
      <Pager pages={pages} />
    </Page>
  );
}
