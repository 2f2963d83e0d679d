// One screen: what needs somebody, how many there are of each, and the last hour.
import { useMemo } from 'preact/hooks';
import { useLive } from '../api/live';
import type { Attention, Sample, Status as ServerStatus } from '../api/objects';
import { busiest, useSamples } from '../api/samples';
import { Link } from '../route';
import { texts } from '../texts';
import { Chart, type Series } from '../ui/chart';
import { Empty, Loading, Page, Section } from '../ui/page';
import { ProblemBox } from '../ui/problem';
import { Status } from '../ui/status';
import { bytes, count, duration, visible } from '../ui/words';

const SOON_DAYS = 30;

export function soon(): string {
  return new Date(Date.now() + SOON_DAYS * 86_400_000).toISOString().slice(0, 10);
}

function way_to(item: Attention): string {
  switch (item.kind) {
    case 'pending-devices':
      return '/approvals';
    case 'crl-overdue':
      return '/crls';
    case 'broker-down':
      return '/brokers';
    case 'ca-ends':
      return item.about.length === 64 ? `/cas/${item.about}` : '/cas';
    case 'server-certificate-ends':
      return '/server-certificates';
    case 'devices-end':
      return `/devices?expires_before=${soon()}`;
    default:
      return '/settings';
  }
}

export function Overview() {
  const t = texts.value.overview;
  const status = useLive<ServerStatus>('/v1/status', 5);
  const attention = useLive<{ items: Attention[] }>('/v1/attention', 5);
  const samples = useSamples();
  const at = status.data;
  // Drained by hand: no broker is down, and yet nobody gets in.
  const shut = (at?.upstreams ?? []).filter((each) => each.servers.some((one) => one.drained) && each.servers.every((one) => one.drained || one.state !== 'up'));
  return (
    <Page
      title={t.title}
      aside={
        at && (
          <p class="serving">
            <Status is={at.state === 'ready' ? 'up' : 'warning'} word={t.state[at.state] ?? at.state} />
            <span class="quiet">
              {t.uptime(duration(at.uptime_seconds))} · {texts.value.app.version(at.version)}
            </span>
          </p>
        )
      }
    >
      {status.problem && <ProblemBox problem={status.problem} retry={status.reload} />}
      <Section title={t.attention}>
        {!attention.data && !attention.problem && <Loading />}
        {attention.problem && <ProblemBox problem={attention.problem} retry={attention.reload} />}
        {shut.map((each) => (
          <p key={each.name} class="calm">
            <Link to="/brokers">
              <Status is="error" word={t.no_server(visible(each.name))} />
            </Link>
          </p>
        ))}
        {attention.data?.items.length === 0 && shut.length === 0 && (
          <p class="calm">
            <Status is="up" word={t.calm} />
          </p>
        )}
        {attention.data && attention.data.items.length > 0 && (
          <ul class="attention">
            {attention.data.items.map((item, index) => (
              <li key={index} class={`attention-${item.severity}`}>
                <Link to={way_to(item)}>
                  <Status is={item.severity} />
                  <span class="attention-kind">{t.attention_kinds[item.kind] ?? item.kind}</span>
                  <bdi class="attention-what" lang="en">
                    {visible(item.what)}
                  </bdi>
                  <span class="attention-count">{item.count > 1 ? count(item.count) : ''}</span>
                </Link>
              </li>
            ))}
          </ul>
        )}
      </Section>
      {at && at.cas.active + at.cas.inactive === 0 && (
        <p class="note row-after">
          {texts.value.cas.empty} <Link to="/cas/register">{texts.value.cas.register}</Link>
        </p>
      )}
      {at && <Ledger at={at} />}
      <Section title={t.hour} aside={<p class="quiet">{t.hour_lead}</p>}>
        {!samples && <Loading />}
        {samples && samples.length < 2 && <Empty>{t.starting}</Empty>}
        {samples && samples.length >= 2 && <Charts samples={samples} />}
      </Section>
    </Page>
  );
}

function Ledger({ at }: { at: ServerStatus }) {
  const t = texts.value;
  const o = t.overview;
  return (
    <dl class="ledger">
      <div class="ledger-main">
        <dt>{o.sessions}</dt>
        <dd>
          <Link to="/sessions">{count(at.sessions)}</Link>
        </dd>
      </div>
      <div>
        <dt>{o.devices}</dt>
        <dd class="ledger-split">
          {(['active', 'pending', 'inactive', 'revoked'] as const).map((each) => (
            <Link key={each} to={each === 'pending' ? '/approvals' : `/devices?status=${each}`}>
              <strong>{count(at.devices[each])}</strong> <Status is={each} />
            </Link>
          ))}
        </dd>
      </div>
      <div>
        <dt>{o.cas}</dt>
        <dd class="ledger-split">
          {(['active', 'inactive'] as const).map((each) => (
            <Link key={each} to={`/cas?status=${each}`}>
              <strong>{count(at.cas[each])}</strong> <Status is={each} />
            </Link>
          ))}
        </dd>
      </div>
      <div>
        <dt>{o.ends_30d}</dt>
        <dd>
          <Link to={`/devices?expires_before=${soon()}`}>{count(at.devices_expiring_within_30d)}</Link>
        </dd>
      </div>
      <div>
        <dt>{o.clones}</dt>
        <dd>
          <Link to="/sessions?clones=true">{count(at.clones)}</Link>
        </dd>
      </div>
      <div>
        <dt>{o.queue}</dt>
        <dd>{count(at.registration_queue.depth)}</dd>
      </div>
    </dl>
  );
}

function rate(value: number): string {
  if (value === 0) return '0';
  if (value >= 100) return count(Math.round(value));
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function Charts({ samples }: { samples: Sample[] }) {
  const t = texts.value;
  const o = t.overview;
  const drawn = useMemo(() => {
    const at = samples.map((each) => Date.parse(each.at) / 1000);
    const one = (name: string, of: (sample: Sample) => number): Series => ({ name, values: samples.map(of) });
    const reasons = busiest(samples, (each) => each.rejections_per_second, 4);
    const refusals = reasons.map((reason) => one(t.reasons[reason] ?? reason, (each) => each.rejections_per_second[reason] ?? 0));
    const others = one(o.others, (each) =>
      Object.entries(each.rejections_per_second).reduce((sum, [reason, value]) => (reasons.includes(reason) ? sum : sum + value), 0),
    );
    if (others.values.some((value) => (value ?? 0) > 0) || refusals.length === 0) refusals.push(others);
    const upstreams = samples[samples.length - 1]?.upstreams.slice(0, 5).map((each) => each.name) ?? [];
    return {
      at,
      sessions: [one(o.in_sessions, (each) => each.sessions)],
      handshakes: (['full', 'known', 'resumed'] as const).map((kind) => one(o.kinds[kind] ?? kind, (each) => each.handshakes_per_second[kind] ?? 0)),
      refusals,
      bytes: (['to_broker', 'to_client'] as const).map((way) => one(o.directions[way], (each) => each.bytes_per_second[way])),
      registrations: [one(o.registrations, (each) => each.registrations_per_second)],
      brokers: upstreams.map((name) => one(name, (each) => each.upstreams.find((its) => its.name === name)?.sessions ?? 0)),
    };
  }, [samples, t]);
  const health = samples[samples.length - 1]?.upstreams ?? [];
  return (
    <div class="charts">
      <Chart title={o.sessions} at={drawn.at} series={drawn.sessions} words={(value) => count(Math.round(value))} />
      <Chart title={o.handshakes} at={drawn.at} series={drawn.handshakes} words={rate} />
      <Chart title={o.refusals} at={drawn.at} series={drawn.refusals} words={rate} />
      <Chart title={o.bytes} at={drawn.at} series={drawn.bytes} words={bytes} />
      <Chart title={o.registrations} at={drawn.at} series={drawn.registrations} words={rate} />
      <div class="chart-with">
        <Chart title={`${o.brokers}: ${o.in_sessions}`} at={drawn.at} series={drawn.brokers} words={(value) => count(Math.round(value))} />
        <ul class="health">
          {health.map((each) => (
            <li key={each.name}>
              <Link to="/brokers">
                <bdi>{each.name}</bdi>
              </Link>
              <HealthStrip name={each.name} samples={samples} />
              <Status is={each.servers_up === each.servers ? 'up' : each.servers_up === 0 ? 'down' : 'warning'} word={o.servers_up(each.servers_up, each.servers)} />
            </li>
          ))}
        </ul>
      </div>
    </div>
  );
}

// The hour as sixty minutes: how many of its servers were up at the worst moment of each.
function HealthStrip({ name, samples }: { name: string; samples: Sample[] }) {
  const last = Date.parse(samples[samples.length - 1]?.at ?? '');
  const worst = new Array<number | null>(60).fill(null);
  for (const sample of samples) {
    const minute = 59 - Math.floor((last - Date.parse(sample.at)) / 60_000);
    const its = sample.upstreams.find((each) => each.name === name);
    if (minute < 0 || minute > 59 || !its) continue;
    const share = its.servers === 0 ? 0 : its.servers_up / its.servers;
    worst[minute] = Math.min(worst[minute] ?? 1, share);
  }
  return (
    <svg class="strip" viewBox="0 0 120 10" preserveAspectRatio="none" aria-hidden="true">
      {worst.map((share, minute) => (
        <rect
          key={minute}
          x={minute * 2}
          y={share === null || share === 1 ? 2 : 0}
          width={1.5}
          height={share === null || share === 1 ? 6 : 10}
          class={share === null ? 'strip-none' : share === 1 ? 'strip-up' : share === 0 ? 'strip-down' : 'strip-some'}
        />
      ))}
    </svg>
  );
}
