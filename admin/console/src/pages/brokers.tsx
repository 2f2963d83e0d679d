// The upstreams: how their servers are, and taking one out of use.
import { ask } from '../api/http';
import { useAll } from '../api/live';
import type { Server, Upstream } from '../api/objects';
import { may_change } from '../session';
import { texts } from '../texts';
import { act } from '../ui/act';
import { Loading, Page, Section } from '../ui/page';
import { ProblemBox } from '../ui/problem';
import { Status } from '../ui/status';
import { Table, type Column } from '../ui/table';
import { count, visible } from '../ui/words';

function path_of(upstream: Upstream, server: Server): string {
  return `/v1/upstreams/${encodeURIComponent(upstream.name)}/servers/${encodeURIComponent(server.server)}`;
}

function drain(upstream: Upstream, server: Server): void {
  const t = texts.peek().brokers;
  const back = server.drained;
  act({
    title: back ? t.act.undrain_title(server.server) : t.act.drain_title(server.server),
    verb: back ? t.undrain : t.drain,
    danger: !back,
    impact: async () => {
      const now = await ask<Upstream>(`/v1/upstreams/${encodeURIComponent(upstream.name)}`);
      const its = now.servers.find((each) => each.server === server.server) ?? server;
      if (back) return <p class="impact">{t.act.undrain_impact}</p>;
      const others = now.servers.filter((each) => each.server !== server.server && each.state === 'up' && !each.drained);
      return (
        <>
          <p class="impact">{t.act.drain_impact(its.sessions)}</p>
          {others.length === 0 && <p class="impact">{t.act.drain_last}</p>}
        </>
      );
    },
    run: async () => {
      await ask<Upstream>(`${path_of(upstream, server)}/${back ? 'undrain' : 'drain'}`, { method: 'POST' });
      return <p>{back ? t.act.undrained(server.server) : t.act.drained(server.server)}</p>;
    },
  });
}

export function Brokers() {
  const t = texts.value.brokers;
  const list = useAll<Upstream>('/v1/upstreams', 3);
  return (
    <Page title={t.title} lead={t.lead}>
      {list.problem && <ProblemBox problem={list.problem} retry={list.reload} />}
      {!list.data && !list.problem && <Loading />}
      {list.data?.items.map((upstream) => <One key={upstream.name} upstream={upstream} />)}
    </Page>
  );
}

function One({ upstream }: { upstream: Upstream }) {
  const t = texts.value.brokers;
  const columns: Column<Server>[] = [
    {
      head: t.server,
      class: 'col-name',
      cell: (one) => (
        <span class="stack">
          <span class="mono">{one.server}</span>
          {one.addresses.length > 1 && one.addresses.map((each) => <span key={each.address} class="quiet mono">{each.address} · {texts.value.status[each.state] ?? each.state} · {count(each.sessions)}</span>)}
          {one.name_error && <bdi class="fault">{visible(one.name_error)}</bdi>}
        </span>
      ),
    },
    {
      head: t.state,
      cell: (one) => (
        <span class="stack">
          <Status is={one.drained ? 'drained' : one.state} />
          {one.addresses.some((each) => each.slow_start) && <span class="quiet">{t.warming}</span>}
        </span>
      ),
    },
    { head: t.sessions, class: 'col-number', cell: (one) => count(one.sessions) },
    {
      head: t.failures,
      cell: (one) => {
        const some = Object.entries(one.failures).filter(([, times]) => times > 0);
        if (some.length === 0) return <span class="quiet">{t.no_failures}</span>;
        return some.map(([kind, times]) => `${t.fault[kind] ?? kind} ${count(times)}`).join(', ');
      },
    },
  ];
  if (may_change.value)
    columns.push({
      head: texts.value.ui.actions,
      acts: true,
      cell: (one) => (
        <button type="button" class="button button-small" onClick={() => drain(upstream, one)}>
          {one.drained ? t.undrain : t.drain}
        </button>
      ),
    });
  return (
    <Section title={upstream.name} aside={<span class="quiet">{t.balance(upstream.balance, upstream.health)}</span>}>
      <Table label={upstream.name} columns={columns} rows={upstream.servers} id={(one) => one.server} />
    </Section>
  );
}
