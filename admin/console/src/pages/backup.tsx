// A backup of the registry, and which ones were made.
import { useState } from 'preact/hooks';
import { ask } from '../api/http';
import { useLive, type List } from '../api/live';
import type { AuditRecord, RunningConfig } from '../api/objects';
import { may_change } from '../session';
import { texts } from '../texts';
import { act } from '../ui/act';
import { Empty, Loading, Page, Section } from '../ui/page';
import { ProblemBox } from '../ui/problem';
import { Table } from '../ui/table';
import { bytes, moment, Name } from '../ui/words';

interface Made {
  path: string;
  files: number;
  bytes: number;
}

export function Backup() {
  const t = texts.value.backup;
  const config = useLive<RunningConfig>('/v1/config');
  const audit = useLive<List<AuditRecord>>('/v1/audit?limit=1000');
  const [name, set_name] = useState(() => `console-${new Date().toISOString().slice(0, 16).replace(/[-:]/g, '').replace('T', '-')}`);
  const dir = config.data?.settings.find((each) => each.key === 'admin.backup_dir')?.value;
  const made = (audit.data?.items ?? []).filter((each) => each.action === 'backup').slice(0, 20);
  const run = () =>
    act({
      title: t.act.title(name),
      verb: t.button,
      impact: () => Promise.resolve(<p class="impact">{t.act.impact}</p>),
      run: async () => {
        const done = await ask<Made>('/v1/backup', { method: 'POST', body: { name } });
        return <p>{t.act.done(done.path, done.files, bytes(done.bytes))}</p>;
      },
    });
  return (
    <Page title={t.title} lead={t.lead}>
      {config.problem && <ProblemBox problem={config.problem} retry={config.reload} />}
      {config.data && (dir ? <p>{t.dir(String(dir))}</p> : <p class="note">{t.no_dir}</p>)}
      {may_change.value && dir ? (
        <form
          class="filters row-after"
          onSubmit={(event) => {
            event.preventDefault();
            if (name.trim()) run();
          }}
        >
          <div class="field">
            <label for="backup-name">{t.name}</label>
            <input id="backup-name" type="text" autocomplete="off" spellcheck={false} value={name} onInput={(event) => set_name(event.currentTarget.value)} />
          </div>
          <button type="submit" class="button button-main" disabled={!name.trim()}>
            {t.button}
          </button>
        </form>
      ) : null}
      <Section title={t.last}>
        {!audit.data && !audit.problem && <Loading />}
        {audit.data && made.length === 0 && <Empty>{t.none}</Empty>}
        {made.length > 0 && (
          <Table
            label={t.last}
            rows={made}
            id={(one) => one.at}
            columns={[
              { head: texts.value.audit.at, class: 'col-time', cell: (one) => <time dateTime={one.at}>{moment(one.at)}</time> },
              { head: texts.value.audit.who, cell: (one) => <Name>{one.who}</Name> },
              { head: texts.value.audit.target, class: 'col-name', cell: (one) => <Name>{one.target}</Name> },
            ]}
          />
        )}
      </Section>
      <Section title={t.restore}>
        <p>{t.restore_says}</p>
        <pre class="row-after" tabIndex={0} aria-label={t.restore}>{`sallyport restore ${String(dir || 'DIR')}/NAME --state-dir STATE_DIR`}</pre>
      </Section>
    </Page>
  );
}
