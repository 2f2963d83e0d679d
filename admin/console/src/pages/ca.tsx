// One CA: what it is, how its devices join, its revocation lists and its devices.
import { useAll, useLive, usePages } from '../api/live';
import type { Ca as CaObject, Crl, Device } from '../api/objects';
import { Link } from '../route';
import { may_change } from '../session';
import { texts } from '../texts';
import { Download } from '../ui/download';
import { Empty, Facts, Loading, Page, Pager, Section } from '../ui/page';
import { ProblemBox } from '../ui/problem';
import { Status } from '../ui/status';
import { Ago, Day, Ends, Name, Whole } from '../ui/words';
import { History } from './audit';
import { CaActs, switch_ca } from './ca-acts';
import { CrlTable } from './crls';
import { DeviceTable } from './devices';

export function Ca({ id }: { id: string }) {
  const t = texts.value.cas;
  const { data: ca, problem, reload } = useLive<CaObject>(`/v1/cas/${id}`, 10);
  const above = <Link to="/cas">← {t.title}</Link>;
  if (problem)
    return (
      <Page title={t.detail} above={above}>
        <ProblemBox problem={problem} retry={reload} />
      </Page>
    );
  if (!ca)
    return (
      <Page title={t.detail} above={above}>
        <Loading />
      </Page>
    );
  const facts: [string, preact.ComponentChildren][] = [
    [t.status, <Status is={ca.status} />],
    [t.subject, <Name>{ca.subject}</Name>],
    [t.serial, <Whole id={ca.serial} />],
    [t.fingerprint, <Whole id={ca.id} />],
    [
      t.valid,
      <>
        <Day at={ca.not_before} /> – <Ends at={ca.not_after} />
      </>,
    ],
    [t.key, ca.key_type],
    [
      t.registered,
      <>
        <Ago at={ca.registered_at} />, {ca.from_config ? t.from_config : t.from_here}
      </>,
    ],
    [t.online, <Link to={`/sessions?ca=${ca.id}`}>{t.sessions_of(ca.sessions ?? 0, ca.devices_online ?? 0)}</Link>],
  ];
  return (
    <Page
      title={t.detail}
      above={above}
      aside={
        <>
          <Download path={`/v1/cas/${ca.id}/certificate`} name={`ca-${ca.serial}.crt`} />
          {may_change.value && <CaActs ca={ca} away="/cas" />}
        </>
      }
    >
      <p class="subject">
        <Name>{ca.cn || ca.subject}</Name>
      </p>
      <Facts rows={facts} />
      <Section title={t.switches}>
        <Switch label={t.auto_register} on={ca.auto_register} change={() => switch_ca(ca, { auto_register: !ca.auto_register })} />
        <Switch label={t.approve} on={ca.approve} change={() => switch_ca(ca, { approve: !ca.approve })} />
      </Section>
      <ItsDevices ca={ca} />
      <ItsCrls ca={ca} />
      <History target={ca.id} />
    </Page>
  );
}

function Switch({ label, on, change }: { label: string; on: boolean; change: () => void }) {
  const t = texts.value.cas;
  if (!may_change.value)
    return (
      <p class="switch-line">
        <span>{label}</span> <strong>{on ? t.switch_on : t.switch_off}</strong>
      </p>
    );
  return (
    <p class="switch-line">
      <button type="button" role="switch" aria-checked={on} aria-label={label} class="switch" onClick={change}>
        <span class="switch-knob" aria-hidden="true" />
      </button>
      <span>{label}</span>
      <span class="quiet">{on ? t.switch_on : t.switch_off}</span>
    </p>
  );
}

function ItsDevices({ ca }: { ca: CaObject }) {
  const t = texts.value.cas;
  const pages = usePages<Device>('/v1/devices', { ca: ca.id }, 10);
  return (
    <Section title={t.its_devices} aside={<Link to={`/devices?ca=${ca.id}`}>{t.all_devices}</Link>}>
      {pages.problem && <ProblemBox problem={pages.problem} />}
      {pages.empty && <Empty>{texts.value.ui.nothing}</Empty>}
      {pages.items.length > 0 && <DeviceTable rows={pages.items} />}
      <Pager pages={pages} />
    </Section>
  );
}

function ItsCrls({ ca }: { ca: CaObject }) {
  const t = texts.value;
  const list = useAll<Crl>('/v1/crls');
  const its = (list.data?.items ?? []).filter((each) => each.ca_id === ca.id);
  return (
    <Section title={t.cas.its_crls} aside={<Link to="/crls">{t.crls.title}</Link>}>
      {list.problem && <ProblemBox problem={list.problem} />}
      {!list.data && !list.problem && <Loading />}
      {list.data && (its.length === 0 ? <Empty>{t.crls.empty}</Empty> : <CrlTable rows={its} />)}
    </Section>
  );
}
