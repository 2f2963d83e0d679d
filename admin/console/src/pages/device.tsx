// One device: what it is, how it stands and why, its chain, its sessions, what was done to it.
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ask, Problem } from '../api/http';
import { useLive, usePages } from '../api/live';
import type { Device as DeviceObject, Explanation, LiveSession } from '../api/objects';
import { Link } from '../route';
import { epoch, may_change } from '../session';
import { texts } from '../texts';
import { Chain, type ChainLink } from '../ui/chain';
import { Download } from '../ui/download';
import { EVERYWHERE, useMachines } from '../ui/machines';
import { Empty, Facts, Loading, Page, Pager, Section } from '../ui/page';
import { DecisionPath } from '../ui/path';
import { ProblemBox } from '../ui/problem';
import { Standing, Status } from '../ui/status';
import { Ago, Day, Ends, Name, Seen, Whole } from '../ui/words';
import { History } from './audit';
import { act_on_device, verbs_of } from './device-acts';
import { SessionTable } from './sessions';

export function Device({ id }: { id: string }) {
  const t = texts.value.devices;
  const { data: device, problem, reload } = useLive<DeviceObject>(`/v1/devices/${id}`, 10);
  const above = <Link to="/devices">← {t.title}</Link>;
  if (problem || !device)
    return (
      <Page title={t.detail} above={above}>
        {problem ? <ProblemBox problem={problem} retry={reload} /> : <Loading />}
      </Page>
    );
  return (
    <Page
      title={t.detail}
      above={above}
      aside={
        <>
          <Download path={`/v1/devices/${device.id}/certificate`} name={`device-${device.serial}.crt`} />
          {may_change.value &&
            verbs_of(device).map((verb) => (
              <button key={verb} type="button" class={`button${verb === 'approve' || verb === 'activate' ? ' button-main' : verb === 'deactivate' ? '' : ' button-quiet-danger'}`} onClick={() => act_on_device(verb, device, '/devices')}>
                {t[verb]}
              </button>
            ))}
        </>
      }
    >
      <p class="subject">
        <Name>{device.cn || device.subject}</Name>
      </p>
      <Facts rows={facts_of(device)} />
      <Section title={t.chain}>
        <ItsChain device={device} />
      </Section>
      <Section title={t.decision}>
        <Decision id={device.id} />
      </Section>
      <ItsSessions id={device.id} />
      <History target={device.id} />
    </Page>
  );
}

function facts_of(device: DeviceObject): [string, ComponentChildren][] {
  const t = texts.value.devices;
  const refused = device.last_refusal;
  return [
    [t.own_status, <Status is={device.status} />],
    [
      t.effective,
      device.effective_status === 'active' ? (
        <>
          <Status is="admitted" /> <span class="quiet">{t.effective_ok}</span>
        </>
      ) : (
        <>
          <Standing own={device.status} effective={device.effective_status} />
          <span class="quiet"> {texts.value.remedies[remedy_key(device.effective_status)] ?? ''}</span>
        </>
      ),
    ],
    [t.subject, <Name>{device.subject}</Name>],
    [t.serial_number, <Whole id={device.serial} />],
    [t.fingerprint, <Whole id={device.id} />],
    [
      t.valid,
      <>
        <Day at={device.not_before} /> – <Ends at={device.not_after} />
      </>,
    ],
    [t.key, device.key_type || texts.value.ui.unknown],
    [
      t.registered,
      <>
        <Ago at={device.registered_at} />, {t.by[device.registered_by]}
      </>,
    ],
    [
      t.last_seen,
      <>
        <Seen at={device.last_seen} to={device.last_seen_to} />
        {device.last_seen_to === 'day' && <span class="quiet"> ({t.seen_day})</span>}
        {device.sessions > 0 && (
          <>
            {' · '}
            <Link to={`/sessions?device=${device.id}`}>{t.online}</Link>
          </>
        )}
      </>,
    ],
    [
      t.last_refusal,
      refused ? (
        <>
          <strong>{texts.value.reasons[refused.reason] ?? refused.reason}</strong> <Ago at={refused.at} />{' '}
          <span class="quiet">
            {refused.listener} · {refused.peer}
          </span>
        </>
      ) : (
        <span class="quiet">{t.no_refusal}</span>
      ),
    ],
  ];
}

// A device's own status has the reason's name behind `device_`.
function remedy_key(effective: string): string {
  return effective in texts.peek().remedies ? effective : `device_${effective}`;
}

function ItsChain({ device }: { device: DeviceObject }) {
  const links: ChainLink[] = [{ kind: 'device', subject: device.subject, not_after: device.not_after, status: device.status }];
  for (const each of device.chain ?? []) links.push({ kind: each.registered ? 'ca' : 'between', subject: each.subject, not_after: each.not_after, status: each.standing });
  return <Chain links={links} />;
}

function Decision({ id }: { id: string }) {
  const [told, set_told] = useState<Explanation>();
  const [problem, set_problem] = useState<Problem>();
  const grown = epoch.value;
  useEffect(() => {
    const stop = new AbortController();
    ask<Explanation>('/v1/explain', { method: 'POST', body: { device: id }, background: grown > 0, signal: stop.signal }).then(set_told, (error: unknown) => {
      if (error instanceof Problem && error.status !== 0) set_problem(error);
    });
    return () => stop.abort();
  }, [id, grown]);
  if (problem) return problem.status === 404 ? <Empty>{texts.value.devices.no_certificate}</Empty> : <ProblemBox problem={problem} />;
  return told ? <DecisionPath told={told} possession="file" /> : <Loading />;
}

function ItsSessions({ id }: { id: string }) {
  const t = texts.value.devices;
  const pages = usePages<LiveSession>('/v1/sessions', { device: id }, 10, 5);
  const machines = useMachines();
  return (
    <Section title={t.its_sessions}>
      {machines.length > 0 && (
        <p>
          <Link to={`/sessions?${new URLSearchParams({ device: id, node: EVERYWHERE })}`}>{texts.value.machines.see_all}</Link>
        </p>
      )}
      {pages.problem && <ProblemBox problem={pages.problem} />}
      {pages.empty && <Empty>{texts.value.sessions.empty}</Empty>}
      {pages.items.length > 0 && <SessionTable rows={pages.items} />}
      <Pager pages={pages} />
    </Section>
  );
}
