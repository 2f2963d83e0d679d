// Registered CAs: a thousand at most, so that the list is searched here.
import { useAll } from '../api/live';
import type { Ca } from '../api/objects';
import { asking, go, Link, place } from '../route';
import { may_change } from '../session';
import { texts } from '../texts';
import { Choice, Empty, Loading, Page, TextFilter } from '../ui/page';
import { ProblemBox } from '../ui/problem';
import { Status } from '../ui/status';
import { Table, type Column } from '../ui/table';
import { Ends, Name, Short } from '../ui/words';
import { CaActs } from './ca-acts';

export function Cas() {
  const t = texts.value.cas;
  const query = place.value.query;
  const search = query.get('q') ?? '';
  const status = query.get('status') ?? '';
  const list = useAll<Ca>('/v1/cas', 10);
  const wanted = search.toLowerCase().replace(/:/g, '');
  const found = (list.data?.items ?? []).filter(
    (ca) =>
      (!status || ca.status === status) &&
      (!wanted || ca.subject.toLowerCase().replace(/:/g, '').includes(wanted) || ca.serial.toLowerCase().startsWith(wanted) || ca.id.startsWith(wanted)),
  );
  const columns: Column<Ca>[] = [
    {
      head: t.name,
      class: 'col-name',
      cell: (ca) => (
        <Link to={`/cas/${ca.id}`}>
          <Name>{ca.cn || ca.subject}</Name>
        </Link>
      ),
    },
    { head: t.status, cell: (ca) => <Status is={ca.status} /> },
    {
      head: t.devices,
      class: 'col-number',
      cell: (ca) => <Link to={`/devices?ca=${ca.id}`}>{t.counts(ca.devices.active, ca.devices.inactive + ca.devices.pending + ca.devices.revoked)}</Link>,
    },
    { head: t.ends, cell: (ca) => <Ends at={ca.not_after} /> },
    { head: t.key, cell: (ca) => ca.key_type },
    { head: t.serial, cell: (ca) => <Short id={ca.serial} digits={16} /> },
  ];
  if (may_change.value) columns.push({ head: texts.value.ui.actions, acts: true, cell: (ca) => <CaActs ca={ca} /> });
  return (
    <Page
      title={t.title}
      lead={t.lead}
      aside={
        may_change.value && (
          <Link to="/cas/register" class="button button-main">
            {t.register}
          </Link>
        )
      }
    >
      <div class="filters" role="search">
        <TextFilter label={t.search} value={search} on={(value) => go(asking({ q: value }), true)} />
        <Choice
          label={t.status}
          value={status}
          on={(value) => go(asking({ status: value }), true)}
          options={[
            ['', texts.value.ui.all],
            ['active', texts.value.status['active'] ?? ''],
            ['inactive', texts.value.status['inactive'] ?? ''],
          ]}
        />
      </div>
      {list.problem && <ProblemBox problem={list.problem} retry={list.reload} />}
      {!list.data && !list.problem && <Loading />}
      {list.data?.items.length === 0 && <Empty>{t.empty}</Empty>}
      {list.data && list.data.items.length > 0 && found.length === 0 && <Empty>{texts.value.ui.nothing_found}</Empty>}
      {found.length > 0 && <Table label={t.title} columns={columns} rows={found} id={(ca) => ca.id} />}
    </Page>
  );
}
