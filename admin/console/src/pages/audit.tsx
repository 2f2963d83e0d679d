// What operators changed: the whole, and what was done to one thing.
import { useMemo } from 'preact/hooks';
import { usePages } from '../api/live';
import type { AuditRecord } from '../api/objects';
import { asking, go, Link, place } from '../route';
import { texts } from '../texts';
import { Choice, Empty, Page, Pager, Section } from '../ui/page';
import { ProblemBox } from '../ui/problem';
import { Table, type Column } from '../ui/table';
import { AGES, moment, Name, Short, utc_ago, visible } from '../ui/words';

function Target({ record }: { record: AuditRecord }) {
  const is_id = /^[0-9a-f]{64}$/.test(record.target);
  if (is_id && record.action.startsWith('ca.')) return <Link to={`/cas/${record.target}`}><Short id={record.target} /></Link>;
  if (is_id && record.action.startsWith('device.')) return <Link to={`/devices/${record.target}`}><Short id={record.target} /></Link>;
  return is_id ? <Short id={record.target} /> : <Name>{record.target}</Name>;
}

function change_of(record: AuditRecord): string {
  return [record.before, record.after].filter(Boolean).map(visible).join(' → ') || '–';
}

function columns_of(with_target: boolean): Column<AuditRecord>[] {
  const t = texts.value.audit;
  return [
    { head: t.at, class: 'col-time', cell: (one) => <time dateTime={one.at} title={one.at}>{moment(one.at)}</time> },
    { head: t.who, class: 'col-name', cell: (one) => <Name>{one.who}</Name> },
    { head: t.action, cell: (one) => <code>{one.action}</code> },
    ...(with_target ? [{ head: t.target, cell: (one: AuditRecord) => <Target record={one} /> }] : []),
    {
      head: t.change,
      class: 'col-change',
      cell: (one) => (
        <bdi class="breaks" title={change_of(one)}>
          {change_of(one).replace(/\b([0-9a-f]{12})[0-9a-f]{20,}\b/g, '$1…')}
        </bdi>
      ),
    },
    { head: t.from, cell: (one) => <bdi class="quiet">{visible(one.from)}</bdi> },
  ];
}

export function Audit() {
  const t = texts.value.audit;
  const since = place.value.query.get('since') ?? '';
  const from = useMemo(() => (AGES[since] ? utc_ago(AGES[since]) : ''), [since]);
  const pages = usePages<AuditRecord>('/v1/audit', { since: from }, 50);
  return (
    <Page title={t.title} lead={t.lead}>
      <div class="filters">
        <Choice
          label={t.since}
          value={since}
          on={(value) => go(asking({ since: value }), true)}
          options={[['', t.forever], ...Object.keys(AGES).map((each): [string, string] => [each, texts.value.refusals.hours[each] ?? each])]}
        />
      </div>
      {pages.problem && <ProblemBox problem={pages.problem} />}
      {pages.empty && <Empty>{t.empty}</Empty>}
      {pages.items.length > 0 && <Table label={t.title} columns={columns_of(true)} rows={pages.items} id={(one) => `${one.at} ${one.target}`} />}
      <Pager pages={pages} />
    </Page>
  );
}

export function History({ target }: { target: string }) {
  const t = texts.value;
  const pages = usePages<AuditRecord>('/v1/audit', { target }, 10);
  return (
    <Section title={t.devices.its_audit} aside={<Link to="/audit">{t.audit.title}</Link>}>
      {pages.problem && <ProblemBox problem={pages.problem} />}
      {pages.empty && <Empty>{t.audit.empty}</Empty>}
      {pages.items.length > 0 && <Table label={t.devices.its_audit} columns={columns_of(false)} rows={pages.items} id={(one) => `${one.at} ${one.action}`} />}
      <Pager pages={pages} />
    </Section>
  );
}
