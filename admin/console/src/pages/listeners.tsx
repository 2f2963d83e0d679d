// Listeners: who is asked for a certificate, which one the server shows, and the way back to the file.
import { signal, type Signal } from '@preact/signals';
import { ask } from '../api/http';
import { useAll, useLive } from '../api/live';
import type { Listener, ServerCertificate, Status as ServerStatus } from '../api/objects';
import { Link } from '../route';
import { may_change } from '../session';
import { texts } from '../texts';
import { act } from '../ui/act';
import { Loading, Page } from '../ui/page';
import { ProblemBox } from '../ui/problem';
import { Table, type Column } from '../ui/table';
import { count, Ends, Name, Short, visible } from '../ui/words';

function path_of(listener: Listener): string {
  return `/v1/listeners/${encodeURIComponent(listener.name)}`;
}

async function sessions_on(name: string): Promise<number> {
  const status = await ask<ServerStatus>('/v1/status');
  return status.listeners.find((each) => each.name === name)?.sessions ?? 0;
}

function auth_word(auth: string): string {
  const t = texts.peek().listeners;
  return auth === 'mutual' ? t.mutual : t.one_way;
}

function switch_auth(listener: Listener): void {
  const t = texts.peek().listeners;
  const mode = listener.auth === 'mutual' ? 'one-way' : 'mutual';
  act({
    title: mode === 'mutual' ? t.act.mutual_title(listener.name) : t.act.one_way_title(listener.name),
    verb: mode === 'mutual' ? t.to_mutual : t.to_one_way,
    danger: true,
    ...(mode === 'one-way' ? { type: listener.name } : {}),
    impact: async () => {
      const open = await sessions_on(listener.name);
      if (mode === 'mutual') return <p class="impact">{t.act.mutual_impact(open)}</p>;
      return (
        <>
          <p class="impact">{t.act.one_way_impact}</p>
          <p>{t.act.one_way_sessions(open)}</p>
        </>
      );
    },
    run: async () => {
      const done = await ask<Listener>(`${path_of(listener)}/auth`, { method: 'PUT', body: { mode } });
      return <p>{t.act.done(done.name, auth_word(done.auth))}</p>;
    },
  });
}

function Choose({ all, on }: { all: ServerCertificate[]; on: Signal<string> }) {
  return (
    <fieldset class="choices">
      <legend class="out-of-sight">{texts.value.listeners.certificate}</legend>
      {all.map((each) => (
        <label key={each.id} class="radio choice">
          <input type="radio" name="certificate" checked={on.value === each.id} onChange={() => (on.value = each.id)} />
          <span>
            <strong>
              <Name>{each.cn || each.subject}</Name>
            </strong>
            <span class="quiet">
              {each.names.length > 0 ? <Name>{each.names.join(', ')}</Name> : <strong class="tone-bad">{texts.value.listeners.act.use_no_names}</strong>} · {each.key_type} · <Ends at={each.not_after} />
            </span>
          </span>
        </label>
      ))}
    </fieldset>
  );
}

function use_certificate(listener: Listener): void {
  const t = texts.peek().listeners;
  const chosen = signal('');
  act({
    title: t.act.use_title(listener.name),
    verb: t.use,
    impact: async () => {
      const found = await ask<{ items: ServerCertificate[] }>('/v1/server-certificates?limit=1000');
      if (found.items.length === 0) return <p>{t.act.use_none}</p>;
      return (
        <>
          <p class="impact">{t.act.use_impact}</p>
          <Choose all={found.items} on={chosen} />
        </>
      );
    },
    possible: () => chosen.value !== '',
    run: async () => {
      const done = await ask<Listener>(`${path_of(listener)}/server-certificate`, { method: 'PUT', body: { id: chosen.value } });
      return <p>{t.act.used(done.name)}</p>;
    },
  });
}

function reset(listener: Listener): void {
  const t = texts.peek().listeners;
  act({
    title: t.act.reset_title(listener.name),
    verb: t.reset,
    danger: true,
    impact: () => Promise.resolve(<p class="impact">{t.act.reset_impact}</p>),
    run: async () => {
      const done = await ask<Listener>(`${path_of(listener)}/overrides`, { method: 'DELETE' });
      return <p>{t.act.done(done.name, auth_word(done.auth))}</p>;
    },
  });
}

export function Listeners() {
  const t = texts.value.listeners;
  const list = useAll<Listener>('/v1/listeners', 10);
  const hosted = useAll<ServerCertificate>('/v1/server-certificates');
  const status = useLive<ServerStatus>('/v1/status', 10);
  const names = new Map((hosted.data?.items ?? []).map((each) => [each.id, each.cn || each.subject]));
  const columns: Column<Listener>[] = [
    { head: t.name, class: 'col-name', cell: (one) => <strong><bdi>{one.name}</bdi></strong> },
    { head: t.address, cell: (one) => <span class="mono">{one.address}</span> },
    {
      head: t.auth,
      cell: (one) => (
        <span class="stack">
          <span>
            <strong>{one.auth === 'mutual' ? t.mutual : t.one_way}</strong>
            {one.overrides.auth && <span class="mark">{t.chosen}</span>}
          </span>
          <span class="quiet">{one.auth === 'mutual' ? t.mutual_says : t.one_way_says}</span>
        </span>
      ),
    },
    {
      head: t.certificate,
      cell: (one) => (
        <span class="stack">
          {one.server_certificates.map((id) => (
            <span key={id}>{names.get(id) ? <Name>{names.get(id)}</Name> : <Short id={id} />}</span>
          ))}
          <span>{one.overrides.server_certificate ? <span class="mark">{t.chosen}</span> : <span class="quiet">{t.from_file}</span>}</span>
        </span>
      ),
    },
    { head: t.upstream, cell: (one) => <Link to="/brokers"><bdi>{one.upstream}</bdi></Link> },
    {
      head: t.sessions,
      class: 'col-number',
      cell: (one) => <Link to={`/sessions?listener=${encodeURIComponent(one.name)}`}>{count(status.data?.listeners.find((each) => each.name === one.name)?.sessions ?? 0)}</Link>,
    },
  ];
  if (may_change.value)
    columns.push({
      head: texts.value.ui.actions,
      acts: true,
      cell: (one) => (
        <span class="acts acts-stack">
          <button type="button" class="button button-small" onClick={() => use_certificate(one)}>
            {t.use}
          </button>
          <button type="button" class="button button-small" onClick={() => switch_auth(one)}>
            {one.auth === 'mutual' ? t.to_one_way : t.to_mutual}
          </button>
          {Object.keys(one.overrides).length > 0 && (
            <button type="button" class="button button-small" onClick={() => reset(one)}>
              {t.reset}
            </button>
          )}
        </span>
      ),
    });
  return (
    <Page title={t.title} lead={t.lead} aside={<Link to="/server-certificates">{texts.value.nav.server_certificates}</Link>}>
      {list.problem && <ProblemBox problem={list.problem} retry={list.reload} />}
      {!list.data && !list.problem && <Loading />}
      {list.data && <Table label={t.title} columns={columns} rows={list.data.items} id={(one) => one.name} name={(one) => visible(one.name)} />}
    </Page>
  );
}
