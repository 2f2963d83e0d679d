// Who was turned away, and why: the decision as a path that ends where it failed, and one click to the remedy.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { ask, Problem, with_query } from '../api/http';
import { useAll, usePages, type List } from '../api/live';
import type { Ca, Explanation, Listener, Refusal, RefusalGroup } from '../api/objects';
import { asking, go, Link, place } from '../route';
import { epoch, may_change } from '../session';
import { texts } from '../texts';
import { as_problem } from '../ui/act';
import { EVERYWHERE, MachineChoice, Silent, useMachines } from '../ui/machines';
import { Choice, Empty, Loading, Page, Section } from '../ui/page';
import { DecisionPath } from '../ui/path';
import { PemField } from '../ui/pem';
import { ProblemBox } from '../ui/problem';
import { Status } from '../ui/status';
import { Table, type Column } from '../ui/table';
import { Ago, AGES, cn_of, count, moment, Name, utc_ago, visible } from '../ui/words';
import { act_on_device } from './device-acts';

const FIRST = 30; // of two hundred at most

export function Refusals() {
  const t = texts.value.refusals;
  const query = place.value.query;
  const of = (name: string) => query.get(name) ?? '';
  const why = of('why');
  const [shown, set_shown] = useState(FIRST);
  const age = of('since') || '24h';
  const filter = { reason: of('reason'), listener: of('listener') };
  // Fixed when it is chosen: a question that changes by itself would count as a person's.
  const since = useMemo(() => utc_ago(AGES[age] ?? 86_400), [age]);
  const machines = useMachines();
  const node = machines.length > 0 ? of('node') : '';
  const list = usePages<RefusalGroup>('/v1/rejections/groups', { ...filter, since, node }, 200, 10);
  const listeners = useAll<Listener>('/v1/listeners');
  const set = (name: string) => (value: string) => go(asking({ [name]: value, why: '' }), true);
  const asked = why ? list.items.find((each) => each.ids.includes(why)) : undefined;
  const columns: Column<RefusalGroup>[] = [
    {
      head: t.reason,
      class: 'col-name',
      cell: (one) => (
        <span class="stack">
          <Status is="refused" word={texts.value.reasons[one.reason] ?? one.reason} />
          <code class="quiet">{one.reason}</code>
        </span>
      ),
    },
    {
      head: t.who,
      class: 'col-name',
      cell: (one) =>
        one.subject ? (
          <span class="stack">
            <span>
              <Name>{cn_of(one.subject)}</Name>
              {one.claimed_count > 0 && one.claimed_count === one.count && (
                <span class="mark" title={t.claimed_says}>
                  {t.claimed}
                </span>
              )}
            </span>
            <span class="quiet">
              {t.issuer}: <Name>{cn_of(one.issuer)}</Name>
            </span>
          </span>
        ) : (
          <span class="quiet">{t.nobody}</span>
        ),
    },
    { head: t.times, class: 'col-number', cell: (one) => count(one.count) },
    { head: t.from, cell: (one) => <span class="mono">{t.addresses(one.last_peer, one.peers)}</span> },
    ...(node === EVERYWHERE ? [{ head: texts.value.machines.machine, cell: (one: RefusalGroup) => <bdi>{one.node ?? ''}</bdi> }] : []),
    { head: t.listener, cell: (one) => <bdi>{one.listeners.join(', ')}</bdi> },
    { head: t.last, cell: (one) => <Ago at={one.last} /> },
    {
      head: texts.value.ui.actions,
      acts: true,
      cell: (one) => (
        <button type="button" class="button button-small" aria-label={t.why_of(visible(cn_of(one.subject)) || one.last_peer)} onClick={() => go(asking({ why: one.ids[0] ?? '' }))}>
          {t.why}
        </button>
      ),
    },
  ];
  return (
    <Page title={t.title} lead={t.lead}>
      {why && <Why id={why} group={asked} known={!list.loading && !list.away} node={asked?.node ?? (node === EVERYWHERE ? '' : node)} />}
      <div class="filters">
        <MachineChoice names={machines} value={node} on={set('node')} />
        <Choice
          label={t.reason}
          value={of('reason')}
          on={set('reason')}
          options={[['', texts.value.ui.all], ...Object.entries(texts.value.reasons)]}
        />
        <Choice label={t.listener} value={of('listener')} on={set('listener')} options={[['', texts.value.ui.all], ...(listeners.data?.items ?? []).map((each): [string, string] => [each.name, each.name])]} />
        <Choice label={t.since} value={age} on={set('since')} options={Object.entries(t.hours)} />
      </div>
      {list.problem && <ProblemBox problem={list.problem} />}
      <Silent names={list.silent} />
      {list.loading && list.items.length === 0 && <Loading />}
      {list.empty && <Empty>{t.empty}</Empty>}
      {list.items.length > 0 && (
        <>
          <Table label={t.title} columns={columns} rows={list.items.slice(0, shown)} id={(one) => `${one.node ?? ''} ${one.reason} ${one.fingerprint ?? one.last_peer}`} />
          {list.items.length > shown && (
            <button type="button" class="button row-after" onClick={() => set_shown(shown + FIRST)}>
              {texts.value.ui.show_more(Math.min(FIRST, list.items.length - shown))}
            </button>
          )}
        </>
      )}
      <Section title={t.try_title}>
        <Try listeners={(listeners.data?.items ?? []).map((each) => each.name)} />
      </Section>
    </Page>
  );
}

// What the certificate alone decides, by the walk that explain makes. Of everything else (a broker that was away, a
// limit, TLS, the CONNECT) today's walk knows nothing: there the kept refusal is shown.
const BY_THE_WALK = new Set([
  'not_a_device', 'ca_unknown', 'ca_inactive', 'device_inactive', 'device_pending', 'device_revoked', 'not_registered',
  'expired', 'not_yet_valid', 'bad_signature', 'bad_purpose', 'bad_chain', 'serial_conflict',
]);
const BEFORE_THE_WALK = new Set(['no_certificate', 'tls_error', 'handshake_timeout', 'rate_limited', 'too_many_connections', 'bad_proxy_header']);
const ABOUT_THE_ISSUER = new Set(['ca_unknown', 'ca_inactive', 'bad_signature', 'not_registered']);

interface Told {
  id: string;
  now: Explanation;
  kept: Refusal | undefined;
}

// The kept refusal as a path: up to where it ended.
function as_kept(told: Explanation, kept: { reason: string; what: string; last: string }): Explanation {
  const stop = BEFORE_THE_WALK.has(kept.reason) ? 1 : 9;
  return {
    ...told,
    admitted: false,
    reason: kept.reason,
    what_to_do: null,
    source: 'refusal',
    refused_at: kept.last,
    stopped_at: stop,
    steps: [{ step: stop, what: '', found: kept.what }],
  };
}

interface WhyProps {
  id: string;
  group: RefusalGroup | undefined;
  known: boolean;
  node: string; // where it is kept
}

function Why({ id, group, known, node }: WhyProps) {
  const t = texts.value.refusals;
  const [found, set_found] = useState<Told>();
  const [problem, set_problem] = useState<Problem>();
  const title = useRef<HTMLHeadingElement>(null);
  const grown = epoch.value;
  const reason = group?.reason ?? '';
  useEffect(() => {
    if (!known) return; // of which reason it is says the list
    const stop = new AbortController();
    set_problem(undefined);
    Promise.all([
      ask<Explanation>(with_query('/v1/explain', { node }), { method: 'POST', body: { refusal: id }, signal: stop.signal }),
      ask<List<Refusal>>(with_query('/v1/rejections', { reason, limit: node ? 200 : 1000, node }), { signal: stop.signal }),
    ]).then(
      ([now, list]) => set_found({ id, now, kept: list.items.find((each) => each.id === id) }),
      (error: unknown) => {
        if (!stop.signal.aborted) set_problem(as_problem(error));
      },
    );
    return () => stop.abort();
  }, [id, grown, known, reason, node]);
  // The answer stands above the list: whoever asked is led there, and back.
  useEffect(() => {
    const from = document.activeElement;
    document.getElementById('why')?.scrollIntoView({ block: 'start' });
    title.current?.focus({ preventScroll: true });
    return () => {
      if (from instanceof HTMLElement && from.isConnected) from.focus();
    };
  }, [id]);
  const told = found?.id === id ? found : undefined;
  const name = visible(cn_of(told?.now.subject ?? group?.subject ?? '')) || group?.last_peer || id.slice(0, 8);
  return (
    <section class="why" id="why" aria-labelledby="why-title">
      <div class="section-head">
        <h2 id="why-title" tabIndex={-1} ref={title}>
          <bdi>{t.why_of(name)}</bdi>
        </h2>
        <button type="button" class="button button-small" onClick={() => go(asking({ why: '' }))}>
          {texts.value.ui.close}
        </button>
      </div>
      {problem && <ProblemBox problem={problem} />}
      {!told && !problem && <Loading />}
      {told && <Answer told={told} group={group} />}
    </section>
  );
}

function Answer({ told, group }: { told: Told; group: RefusalGroup | undefined }) {
  const t = texts.value;
  const { now, kept } = told;
  const then = kept ?? (group && { reason: group.reason, what: '', last: group.last, claimed: group.claimed_count === group.count });
  const claimed = then ? then.claimed : now.steps.some((each) => each.step === 1 && each.found.includes('not proven'));
  const shown = then && now.admitted && !BY_THE_WALK.has(then.reason) ? as_kept(now, then) : now;
  const reason = shown.reason ?? '';
  const issuer = group && ABOUT_THE_ISSUER.has(reason) ? `${t.refusals.issuer}: ${group.issuer}` : undefined;
  return (
    <>
      {then && shown === now && now.source === 'certificate' && now.reason !== then.reason && (
        <p class="note">{t.refusals.was(t.reasons[then.reason] ?? then.reason, moment(then.last))}</p>
      )}
      {shown !== now && <p class="note">{t.refusals.certificate_is_fine}</p>}
      <DecisionPath told={shown} possession={claimed ? 'claimed' : 'proven'} {...(issuer ? { at_stop: issuer } : {})} />
      <Remedy told={shown} group={group ?? null} claimed={claimed} />
    </>
  );
}

function Remedy({ told, group, claimed }: { told: Explanation; group: RefusalGroup | null; claimed: boolean }) {
  const t = texts.value;
  const r = t.refusals;
  if (told.admitted) return <p class="remedy">{r.admitted_now}</p>;
  const reason = told.reason ?? group?.reason ?? '';
  if (!reason) return null;
  return (
    <div class="remedy">
      <p>
        <strong>{r.remedy}:</strong> {t.remedies[reason] ?? told.what_to_do ?? ''}
        {claimed && ` ${r.claimed_warns}`}
      </p>
      <Go reason={reason} id={told.id} cn={cn_of(told.subject)} issuer={group?.issuer ?? ''} claimed={claimed} />
    </div>
  );
}

interface GoProps {
  reason: string;
  id: string;
  cn: string;
  issuer: string;
  claimed: boolean;
}

// The keys of the configuration that decide it, as the settings page finds them.
const KEYS: Record<string, string> = {
  too_many_sessions: 'max_sessions_per_device',
  too_many_connections: 'max_connections',
  rate_limited: 'max_',
  bad_connect: 'max_connect_size',
  client_id_mismatch: 'client_id',
  bad_identity: 'username',
  bad_proxy_header: 'proxy_protocol',
};

// One click to what helps. A viewer is led to where it can be seen, and so is an operator where nobody proved to be the
// device: what a stranger only claimed must not lead straight to letting it in.
function Go({ reason, id, cn, issuer, claimed }: GoProps) {
  const g = texts.value.refusals.go;
  const may = may_change.value;
  const cas = useAll<Ca>('/v1/cas');
  const its = (cas.data?.items ?? []).filter((ca) => ca.subject === issuer);
  const [ca] = its;
  const to_ca = ca && its.length === 1 ? `/cas/${ca.id}` : `/cas?q=${encodeURIComponent(cn_of(issuer))}`;
  const link = (to: string, word: string) => (
    <Link to={to} class="button button-main">
      {word}
    </Link>
  );
  const device = /^[0-9a-f]{64}$/.test(id);
  switch (reason) {
    case 'ca_unknown':
      return may ? link('/cas/register', g.register_ca) : link(to_ca, g.see_ca);
    case 'bad_signature': // perhaps forged: no way to trust it with one click
    case 'ca_inactive':
    case 'bad_chain':
      return link(to_ca, g.see_ca);
    case 'device_inactive':
    case 'device_pending': {
      const verb = reason === 'device_pending' ? 'approve' : 'activate';
      if (!may || claimed) return device ? link(`/devices/${id}`, g.see_device) : null;
      return (
        <button type="button" class="button button-main" onClick={() => act_on_device(verb, { id, cn })}>
          {g[verb]}
        </button>
      );
    }
    case 'device_revoked':
    case 'serial_conflict':
      return device ? link(`/devices/${id}`, g.see_device) : null;
    case 'not_registered':
      return may ? link(`/import?${new URLSearchParams({ cn, id })}`, g.register_device) : null;
    case 'broker_unavailable':
      return link('/brokers', g.brokers);
    case 'clone':
      return link('/sessions?clones=true', g.clones);
    case 'too_many_sessions':
    case 'too_many_connections':
    case 'rate_limited':
    case 'bad_connect':
    case 'client_id_mismatch':
    case 'bad_identity':
    case 'bad_proxy_header':
      return link(`/settings?q=${KEYS[reason] ?? ''}`, reason === 'bad_identity' ? g.setting : g.settings);
    case 'tls_error':
      return link('/server-certificates', g.server_certificates);
    default:
      return null;
  }
}

function Try({ listeners }: { listeners: string[] }) {
  const t = texts.value.refusals;
  const [chain, set_chain] = useState('');
  const [listener, set_listener] = useState('');
  const [told, set_told] = useState<Explanation>();
  const [problem, set_problem] = useState<Problem>();
  // An answer stands only beside what was asked.
  const anew = () => {
    set_problem(undefined);
    set_told(undefined);
  };
  const run = async () => {
    anew();
    try {
      set_told(await ask<Explanation>('/v1/explain', { method: 'POST', body: { chain, ...(listener ? { listener } : {}) } }));
    } catch (error) {
      set_problem(as_problem(error));
    }
  };
  return (
    <div class="try">
      <PemField
        label={t.try_title}
        hint={t.try_lead}
        value={chain}
        on={(text) => {
          anew();
          set_chain(text);
        }}
      />
      <div class="filters row-after">
        <Choice
          label={t.try_listener}
          value={listener}
          on={(name) => {
            anew();
            set_listener(name);
          }}
          options={[['', t.try_any], ...listeners.map((each): [string, string] => [each, each])]}
        />
        <button type="button" class="button" disabled={!chain.trim()} onClick={() => void run()}>
          {t.try_button}
        </button>
      </div>
      {problem && <ProblemBox problem={problem} />}
      {told && (
        <div role="status">
          {told.admitted && !listener && <p class="note">{t.any_says}</p>}
          <DecisionPath told={told} possession="file" />
          {!told.admitted && <Remedy told={told} group={null} claimed={false} />}
        </div>
      )}
    </div>
  );
}
