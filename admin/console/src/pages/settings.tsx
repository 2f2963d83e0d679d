// The configuration as it runs, and the few things that are done to the server as a whole.
import { ask } from '../api/http';
import { useLive } from '../api/live';
import type { RunningConfig, Setting } from '../api/objects';
import { asking, go, place } from '../route';
import { may_change } from '../session';
import { texts } from '../texts';
import { act } from '../ui/act';
import { Empty, Loading, Page, TextFilter, Tick } from '../ui/page';
import { ProblemBox } from '../ui/problem';
import { Table, type Column } from '../ui/table';
import { visible } from '../ui/words';

function value_of(value: unknown): string {
  if (value === null || value === undefined) return '–';
  if (typeof value === 'string') return value === '' ? '""' : visible(value);
  return visible(JSON.stringify(value));
}

function reload(): void {
  const t = texts.peek().settings;
  act({
    title: t.act.reload_title,
    verb: t.reload,
    impact: () => Promise.resolve(<p class="impact">{t.act.reload_impact}</p>),
    run: async () => {
      const done = await ask<{ needs_restart: string[] }>('/v1/reload', { method: 'POST' });
      return <p>{t.act.reloaded(done.needs_restart.join(', '))}</p>;
    },
  });
}

function rotate(): void {
  const t = texts.peek().settings;
  act({
    title: t.act.rotate_title,
    verb: t.rotate,
    danger: true,
    impact: () => Promise.resolve(<p class="impact">{t.act.rotate_impact}</p>),
    run: async () => {
      await ask('/v1/ticket-keys/rotate', { method: 'POST' });
      return <p>{t.act.rotated}</p>;
    },
  });
}

export function Settings() {
  const t = texts.value.settings;
  const query = place.value.query;
  const search = (query.get('q') ?? '').toLowerCase();
  const only = query.get('only') === 'changed';
  const config = useLive<RunningConfig>('/v1/config', 15);
  const rows = (config.data?.settings ?? []).filter(
    (each) => (!search || `${each.key} ${each.of ?? ''}`.toLowerCase().includes(search)) && (!only || each.source !== 'default' || each.waits !== null),
  );
  const columns: Column<Setting>[] = [
    { head: t.key, class: 'col-name', cell: (one) => <code>{one.key}</code> },
    { head: t.of, cell: (one) => (one.of ? <bdi>{visible(one.of)}</bdi> : <span class="quiet">–</span>) },
    {
      head: t.value,
      class: 'col-name',
      cell: (one) => (
        <span class="stack">
          <code class={`breaks${one.source === 'default' ? '' : ' strong'}`}>{value_of(one.value)}</code>
          {one.waits !== null && (
            <span class="tone-wait">
              {t.waits}: <code>{value_of(one.waits)}</code>
            </span>
          )}
        </span>
      ),
    },
    { head: t.default, cell: (one) => <code class="breaks quiet">{value_of(one.default)}</code> },
    {
      head: t.source,
      cell: (one) => (
        <span class="stack">
          <span>{t.sources[one.source] ?? one.source}</span>
          {one.source === 'run-time' && <span class="quiet">{t.in_file(value_of(one.file_value))}</span>}
        </span>
      ),
    },
    { head: t.changes, class: 'col-number', cell: (one) => <span class="quiet">{t.changes_by[one.changes_by] ?? one.changes_by}</span> },
  ];
  return (
    <Page
      title={t.title}
      lead={t.lead}
      aside={
        may_change.value && (
          <>
            <button type="button" class="button" onClick={reload}>
              {t.reload}
            </button>
            <button type="button" class="button button-quiet-danger" onClick={rotate}>
              {t.rotate}
            </button>
          </>
        )
      }
    >
      {config.problem && <ProblemBox problem={config.problem} retry={config.reload} />}
      {!config.data && !config.problem && <Loading />}
      {config.data && (
        <>
          <p>
            {t.file}: <code class="breaks">{config.data.file}</code>
          </p>
          {config.data.needs_restart.length > 0 && <p class="note">{t.waits_list(config.data.needs_restart.join(', '))}</p>}
          <div class="filters row-after" role="search">
            <TextFilter label={t.search} value={query.get('q') ?? ''} on={(value) => go(asking({ q: value }), true)} />
            <Tick label={t.only} value={only} on={(on) => go(asking({ only: on ? 'changed' : '' }), true)} />
          </div>
          {rows.length === 0 ? <Empty>{texts.value.ui.nothing_found}</Empty> : <Table label={t.title} columns={columns} rows={rows} id={(one) => `${one.key} ${one.of ?? ''}`} />}
        </>
      )}
    </Page>
  );
}
