// Revocation lists: what was imported last for each CA, and importing one.
import { useState } from 'preact/hooks';
import { ask } from '../api/http';
import { holds_key } from '../api/keys';
import { useAll } from '../api/live';
import type { Ca, Crl, CrlOutcome } from '../api/objects';
import { Link } from '../route';
import { may_change } from '../session';
import { texts } from '../texts';
import { act } from '../ui/act';
import { Empty, Loading, Page, Section } from '../ui/page';
import { ProblemBox } from '../ui/problem';
import { Status } from '../ui/status';
import { Table } from '../ui/table';
import { Ago, count, Name, Short, visible } from '../ui/words';

export function CrlTable({ rows, names }: { rows: Crl[]; names?: Map<string, string> }) {
  const t = texts.value.crls;
  return (
    <Table
      label={t.title}
      rows={rows}
      id={(crl) => crl.id}
      columns={[
        ...(names
          ? [{ head: t.ca, class: 'col-name', cell: (crl: Crl) => <Link to={`/cas/${crl.ca_id}`}>{names.get(crl.ca_id) ? <Name>{names.get(crl.ca_id)}</Name> : <Short id={crl.ca_id} />}</Link> }]
          : []),
        { head: texts.value.cas.status, cell: (crl) => <Status is={crl.overdue ? 'overdue' : 'current'} /> },
        { head: t.number, cell: (crl) => (crl.number ? <Short id={crl.number} digits={16} /> : texts.value.ui.unknown) },
        { head: t.this_update, cell: (crl) => <Ago at={crl.this_update} /> },
        { head: t.next_update, cell: (crl) => <Ago at={crl.next_update} ahead /> },
        { head: t.entries, class: 'col-number', cell: (crl) => (crl.entries === null ? texts.value.ui.unknown : count(crl.entries)) },
        { head: t.imported, cell: (crl) => <Ago at={crl.imported_at} /> },
      ]}
    />
  );
}

export function Crls() {
  const t = texts.value.crls;
  const list = useAll<Crl>('/v1/crls', 30);
  const cas = useAll<Ca>('/v1/cas');
  const names = new Map((cas.data?.items ?? []).map((ca) => [ca.id, ca.cn || ca.subject]));
  return (
    <Page title={t.title} lead={t.lead}>
      {may_change.value && (
        <Section title={t.import}>
          <Import />
        </Section>
      )}
      {list.problem && <ProblemBox problem={list.problem} retry={list.reload} />}
      {!list.data && !list.problem && <Loading />}
      {list.data?.items.length === 0 && <Empty>{t.empty}</Empty>}
      {list.data && list.data.items.length > 0 && <CrlTable rows={list.data.items} names={names} />}
    </Page>
  );
}

function Import() {
  const t = texts.value.crls;
  const [over, set_over] = useState(false);
  const [trouble, set_trouble] = useState('');
  const take = async (file: File | undefined) => {
    if (!file) return;
    set_trouble('');
    if (await holds_key(file)) {
      set_trouble(texts.peek().pem.private_key_list);
      return;
    }
    act({
      title: t.title_act(visible(file.name)),
      verb: t.send,
      danger: true,
      type: t.word,
      for_good: true,
      what_to_do: (problem) => (problem.status === 404 ? t.no_ca : undefined),
      impact: () => Promise.resolve(<p class="impact">{t.impact}</p>),
      run: async () => {
        const done = await ask<CrlOutcome>('/v1/crls', { method: 'POST', raw: file, type: 'application/pkix-crl' });
        return <p>{t.done(done)}</p>;
      },
    });
  };
  return (
    <div
      class={`drop${over ? ' drop-over' : ''}`}
      onDragOver={(event) => {
        event.preventDefault();
        set_over(true);
      }}
      onDragLeave={() => set_over(false)}
      onDrop={(event) => {
        event.preventDefault();
        set_over(false);
        void take(event.dataTransfer?.files[0]);
      }}
    >
      <span>{t.drop}</span>
      <label class="button">
        {texts.value.pem.choose}
        <input
          type="file"
          class="out-of-sight"
          aria-label={`${texts.value.pem.choose}: ${t.drop}`}
          onChange={(event) => {
            void take(event.currentTarget.files?.[0]);
            event.currentTarget.value = '';
          }}
        />
      </label>
      {trouble && (
        <p class="fault" role="alert">
          {trouble}
        </p>
      )}
    </div>
  );
}
