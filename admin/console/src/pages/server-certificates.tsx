// Hosted server certificates: hosting one, seeing who uses it, deleting it.
import { useState } from 'preact/hooks';
import { ask } from '../api/http';
import { useAll } from '../api/live';
import type { ServerCertificate } from '../api/objects';
import { Link } from '../route';
import { may_change } from '../session';
import { texts } from '../texts';
import { act } from '../ui/act';
import { Empty, Loading, Page, Section } from '../ui/page';
import { PemField } from '../ui/pem';
import { ProblemBox } from '../ui/problem';
import { Table, type Column } from '../ui/table';
import { Whom } from '../ui/whom';
import { Ends, Name, Short, visible } from '../ui/words';

function remove(one: ServerCertificate): void {
  const t = texts.peek().server_certificates;
  const name = visible(one.cn) || one.id.slice(0, 12);
  let used = false; // the server would refuse
  act({
    title: t.act.delete_title(name),
    verb: t.delete,
    danger: true,
    type: texts.peek().devices.act.word['delete'] ?? 'delete',
    for_good: true,
    possible: () => !used,
    impact: async () => {
      const found = await ask<ServerCertificate>(`/v1/server-certificates/${one.id}`);
      used = found.used_by.length > 0;
      return (
        <>
          <Whom all={[{ name: found.cn || found.subject, facts: [[texts.peek().cas.serial, found.serial.slice(0, 12)], [texts.peek().ui.id, found.id.slice(0, 12)]] }]} />
          <p class="impact">{t.act.delete_impact}</p>
          {found.used_by.length > 0 && <p>{t.act.delete_used(found.used_by.join(', '))}</p>}
        </>
      );
    },
    run: async () => {
      await ask(`/v1/server-certificates/${one.id}`, { method: 'DELETE' });
      return <p>{t.act.deleted(name)}</p>;
    },
  });
}

export function ServerCertificates() {
  const t = texts.value.server_certificates;
  const list = useAll<ServerCertificate>('/v1/server-certificates', 30);
  const columns: Column<ServerCertificate>[] = [
    { head: t.name, class: 'col-name', cell: (one) => <Name>{one.cn || one.subject}</Name> },
    { head: t.names, cell: (one) => <Name>{one.names.join(', ')}</Name> },
    { head: t.used_by, cell: (one) => (one.used_by.length > 0 ? <Link to="/listeners">{one.used_by.join(', ')}</Link> : <span class="quiet">{t.unused}</span>) },
    { head: t.ends, cell: (one) => <Ends at={one.not_after} /> },
    { head: texts.value.cas.key, cell: (one) => one.key_type },
    { head: texts.value.cas.serial, cell: (one) => <Short id={one.serial} digits={16} /> },
  ];
  if (may_change.value)
    columns.push({
      head: texts.value.ui.actions,
      acts: true,
      cell: (one) => (
        <button type="button" class="button button-small button-quiet-danger" onClick={() => remove(one)}>
          {t.delete}
        </button>
      ),
    });
  return (
    <Page title={t.title} lead={t.lead} aside={<Link to="/listeners">{texts.value.nav.listeners}</Link>}>
      {list.problem && <ProblemBox problem={list.problem} retry={list.reload} />}
      {!list.data && !list.problem && <Loading />}
      {list.data?.items.length === 0 && <Empty>{t.empty}</Empty>}
      {list.data && list.data.items.length > 0 && <Table label={t.title} columns={columns} rows={list.data.items} id={(one) => one.id} />}
      {may_change.value && (
        <Section title={t.host}>
          <Host />
        </Section>
      )}
    </Page>
  );
}

function Host() {
  const t = texts.value.server_certificates;
  const [chain, set_chain] = useState('');
  const [key, set_key] = useState('');
  const host = () =>
    act({
      title: t.act.add_title,
      verb: t.host,
      impact: () => Promise.resolve(<p class="impact">{t.act.add_impact}</p>),
      run: async () => {
        const made = await ask<ServerCertificate>('/v1/server-certificates', { method: 'POST', body: { chain, key } });
        set_key('');
        set_chain('');
        return <p>{t.act.added(visible(made.cn) || made.id.slice(0, 12))}</p>;
      },
    });
  return (
    <>
      <div class="two">
        <PemField label={t.chain} hint={t.chain_hint} value={chain} on={set_chain} />
        <PemField label={t.key} hint={t.key_hint} value={key} on={set_key} key_wanted />
      </div>
      <div class="row row-after">
        <button type="button" class="button button-main" disabled={!chain.trim() || !key.trim()} onClick={host}>
          {t.host}
        </button>
      </div>
    </>
  );
}
