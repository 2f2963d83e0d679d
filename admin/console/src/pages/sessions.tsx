// Who is connected now, and cutting some of them.
import { useState } from 'preact/hooks';
import { cas_by_id, cut_sessions, type CutFilter } from '../api/acts';
import { useAll, usePages } from '../api/live';
import type { Ca, Listener, LiveSession } from '../api/objects';
import { asking, go, Link, place } from '../route';
import { may_change } from '../session';
import { texts } from '../texts';
import { act } from '../ui/act';
import { EVERYWHERE, MachineChoice, Silent, useMachines } from '../ui/machines';
import { Choice, Empty, Page, Pager, TextFilter, Tick } from '../ui/page';
import { ProblemBox } from '../ui/problem';
import { AllBar, SelectionBar } from '../ui/selection';
import { Table, type Column } from '../ui/table';
import { Whom, whom_session } from '../ui/whom';
import { Ago, as_written, Name, Short, visible } from '../ui/words';
import { ca_options } from './ca-acts';

const FILTERS = ['cn_part', 'client_id_part', 'peer', 'listener', 'ca', 'device', 'clones'] as const;

// Machines give their ids each for itself.
function key_of(one: LiveSession): string {
  return one.node === undefined ? one.id : `${one.node} ${one.id}`;
}

function cut_some(which: LiveSession[], done?: () => void): void {
  const t = texts.peek().sessions;
  const at = new Map<string, string[]>();
  for (const each of which) at.set(each.node ?? '', [...(at.get(each.node ?? '') ?? []), each.id]);
  const parts = [...at].map(([node, ids]): CutFilter => ({ ids, node }));
  let matched = 0;
  act({
    title: t.act.title(which.length),
    verb: t.cut,
    danger: true,
    impact: async () => {
      const [found, cas] = await Promise.all([cut_sessions(parts, true), cas_by_id()]);
      matched = found.matched;
      return (
        <>
          <Whom all={which.map((each) => whom_session(each, cas))} />
          <p class="impact">{matched ? t.act.impact(matched) : t.act.none}</p>
          <Silent names={found.silent} />
        </>
      );
    },
    possible: () => matched > 0,
    run: async (progress) => {
      const found = await cut_sessions(parts, false, (cut) => progress(cut, which.length));
      return (
        <>
          <p>{t.act.done(found.cut)}</p>
          <Silent names={found.silent} />
        </>
      );
    },
    ...(done ? { after: done } : {}),
  });
}

function cut_matching(filter: Record<string, string | boolean>, nodes: string[]): void {
  const t = texts.peek().sessions;
  const everything = Object.keys(filter).length === 0;
  const parts = nodes.map((node): CutFilter => ({ filter, node }));
  let matched = 0;
  act({
    title: t.act.title_all,
    verb: t.cut,
    danger: true,
    ...(everything ? { type: t.cut.toLowerCase() } : {}),
    impact: async () => {
      const found = await cut_sessions(parts, true);
      matched = found.matched;
      const where = nodes.length > 1 ? t.act.everywhere(nodes.length) : nodes[0] ? t.act.everything_at(nodes[0]) : t.act.everything;
      return (
        <>
          {everything && <p class="impact">{where}</p>}
          <p class="impact">{matched ? t.act.impact(matched) : t.act.none}</p>
          <Silent names={found.silent} />
        </>
      );
    },
    possible: () => matched > 0,
    run: async (progress) => {
      const found = await cut_sessions(parts, false, (cut) => progress(cut, matched));
      return (
        <>
          <p>{t.act.done(found.cut)}</p>
          <Silent names={found.silent} />
        </>
      );
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
    ...(rows.some((one) => one.node !== undefined) ? [{ head: texts.value.machines.machine, cell: (one: LiveSession) => <bdi>{one.node ?? ''}</bdi> }] : []),
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
      id={key_of}
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
  const machines = useMachines();
  const node = machines.length > 0 ? of('node') : ''; // of a registry of its own there is nobody else to ask
  const pages = usePages<LiveSession>('/v1/sessions', { ...filter, node }, 100, 5);
  const listeners = useAll<Listener>('/v1/listeners');
  const cas = useAll<Ca>('/v1/cas');
  const [chosen, choose] = useState(new Map<string, LiveSession>());
  const clear = () => choose(new Map());
  const set = (name: string) => (value: string) => {
    clear();
    go(asking({ [name]: value }), true);
  };
  const filtered = Object.keys(filter).length > 0;
  const everything = node === EVERYWHERE ? t.bulk_everywhere : node ? t.bulk_at(node) : t.bulk_everything;
  const device = of('device');
  return (
    <Page title={t.title} lead={t.lead}>
      <div class="filters" role="search">
        <MachineChoice names={machines} value={node} on={set('node')} />
        <TextFilter label={texts.value.devices.cn} value={of('cn_part')} on={set('cn_part')} />
        <TextFilter label={t.client_id_part} value={of('client_id_part')} on={set('client_id_part')} />
        <TextFilter label={t.peer_filter} value={of('peer')} on={set('peer')} />
        <Choice label={t.listener} value={of('listener')} on={set('listener')} options={[['', texts.value.ui.all], ...(listeners.data?.items ?? []).map((each): [string, string] => [each.name, each.name])]} />
        <Choice label={texts.value.devices.ca} value={of('ca')} on={set('ca')} options={[['', texts.value.ui.all], ...ca_options(cas.data?.items ?? [])]} />
        <Tick label={t.clones} value={of('clones') === 'true'} on={(on) => set('clones')(on ? 'true' : '')} hint={t.clones_says} />
        {filtered && (
          <button type="button" class="button button-plain" onClick={() => {
              clear();
              go(node ? `/sessions?${new URLSearchParams({ node })}` : '/sessions', true);
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
          <AllBar label={filtered ? t.bulk_filter : everything}>
            <button type="button" class="button button-small button-quiet-danger" disabled={pages.items.length === 0} onClick={() => cut_matching(filter, node === EVERYWHERE ? machines : [node])}>
              {t.cut_all}
            </button>
          </AllBar>
          <SelectionBar chosen={chosen} shown={pages.items.map(key_of)} clear={clear}>
            {(none) => (
              <button type="button" class="button button-small button-quiet-danger" disabled={none} onClick={() => cut_some([...chosen.values()], clear)}>
                {t.cut}
              </button>
            )}
          </SelectionBar>
        </>
      )}
      {pages.problem && <ProblemBox problem={pages.problem} />}
      <Silent names={pages.silent} />
      {pages.empty && <Empty>{filtered ? texts.value.ui.nothing_found : t.empty}</Empty>}
      {pages.items.length > 0 && <SessionTable rows={pages.items} {...(may_change.value ? { chosen, choose } : {})} />}
      <Pager pages={pages} />
    </Page>
  );
}
