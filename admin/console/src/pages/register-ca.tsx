// Registering a CA, step by step: a code, the commands that sign it, both certificates, how its devices join. What the
// server refuses is shown at the step where it went wrong.
import { useState } from 'preact/hooks';
import { ask, Problem } from '../api/http';
import type { Ca } from '../api/objects';
import { Link } from '../route';
import { may_change } from '../session';
import { texts } from '../texts';
import { as_problem } from '../ui/act';
import { Copy, Page, Tick } from '../ui/page';
import { PemField } from '../ui/pem';
import { ProblemBox } from '../ui/problem';
import { moment, visible } from '../ui/words';

type Fault = keyof typeof texts.value.register.faults;

// Which step a refusal belongs to, by the words of the server (cache/x509/ca_rules.cc, cache/registry).
export function fault_of(problem: Problem): Fault {
  const said = problem.detail;
  if (/registration code/.test(said)) return 'code';
  if (/not signed by this CA|is the CA certificate itself/.test(said)) return 'signature';
  if (/not a CA certificate|v1 CA|the CA's (RSA )?key/.test(said)) return 'not_ca';
  if (/has expired|not valid yet/.test(said)) return 'dates';
  if (/registered already|already registered|is registered/.test(said)) return 'there';
  if (/^(certificate|verification_certificate):|PEM|body must be|private key/.test(said)) return 'unreadable';
  return 'other';
}

const AT: Record<Fault, 'proof' | 'ca'> = {
  code: 'proof',
  signature: 'proof',
  not_ca: 'ca',
  dates: 'ca',
  unreadable: 'ca',
  there: 'ca',
  other: 'ca',
};

function commands(code: string, kind: 'rsa' | 'ec'): string {
  const key = kind === 'rsa' ? 'openssl genrsa -out verification.key 2048' : 'openssl ecparam -genkey -name prime256v1 -noout -out verification.key';
  return [
    key,
    `openssl req -new -key verification.key -subj "/CN=${code}" -out verification.csr`,
    'openssl x509 -req -in verification.csr -CA CA.crt -CAkey CA.key -CAcreateserial -days 30 -sha256 -out verification.crt',
  ].join('\n');
}

export function RegisterCa() {
  const t = texts.value.register;
  const [code, set_code] = useState<{ code: string; expires_at: string }>();
  const [kind, set_kind] = useState<'rsa' | 'ec'>('ec');
  const [ca, set_ca] = useState('');
  const [proof, set_proof] = useState('');
  const [auto_register, set_auto] = useState(true);
  const [approve, set_approve] = useState(false);
  const [busy, set_busy] = useState(false);
  const [problem, set_problem] = useState<Problem>();
  const [missing, set_missing] = useState(false);
  const [done, set_done] = useState<Ca>();
  const above = <Link to="/cas">← {texts.value.cas.title}</Link>;

  // A refusal was of what was handed in then.
  const anew = (set: (text: string) => void) => (text: string) => {
    set_problem(undefined);
    set(text);
  };
  const get_code = async () => {
    set_problem(undefined);
    try {
      set_code(await ask('/v1/registration-codes', { method: 'POST', body: {} }));
    } catch (error) {
      set_problem(as_problem(error));
    }
  };
  const submit = async () => {
    set_problem(undefined);
    set_missing(!ca.trim() || !proof.trim());
    if (!ca.trim() || !proof.trim()) return;
    set_busy(true);
    try {
      set_done(await ask<Ca>('/v1/cas', { method: 'POST', body: { certificate: ca, verification_certificate: proof, auto_register, approve } }));
    } catch (error) {
      set_problem(as_problem(error));
    }
    set_busy(false);
  };
  if (!may_change.value)
    return (
      <Page title={t.title} above={above}>
        <p class="note">{texts.value.app.viewer_note}</p>
      </Page>
    );
  if (done)
    return (
      <Page title={t.title} above={above}>
        <div class="outcome" role="status">
          <p>{t.done(visible(done.cn) || done.id.slice(0, 12))}</p>
        </div>
        <div class="row row-after">
          <Link to={`/cas/${done.id}`} class="button button-main">
            {t.see}
          </Link>
          <button
            type="button"
            class="button"
            onClick={() => {
              set_done(undefined);
              set_code(undefined);
              set_ca('');
              set_proof('');
            }}
          >
            {t.next}
          </button>
        </div>
      </Page>
    );
  const fault = problem && problem.status !== 0 ? fault_of(problem) : undefined;
  const about_proof = fault === 'dates' || fault === 'unreadable' ? /verification/.test(problem?.detail ?? '') : fault && AT[fault] === 'proof';
  const said = fault && problem ? t.fault_says(t.faults[fault], problem.detail, t.fault_hints[fault]) : undefined;
  return (
    <Page title={t.title} lead={t.lead} above={above}>
      <ol class="wizard">
        <li class={code ? 'is-done' : ''}>
          <h2>{t.step_code}</h2>
          {code ? (
            <>
              <p class="code-line">
                <span class="out-of-sight">{t.code}: </span>
                <code class="big-code">{code.code}</code>
                <Copy text={code.code} label={t.code} />
              </p>
              <p class="hint">{t.code_until(moment(code.expires_at))}</p>
            </>
          ) : null}
          <button type="button" class={code ? 'button button-small' : 'button button-main'} onClick={() => void get_code()}>
            {code ? t.another_code : t.get_code}
          </button>
          {problem && !fault && <ProblemBox problem={problem} />}
        </li>
        <li class={code ? '' : 'is-ahead'}>
          <h2>{t.step_sign}</h2>
          <p>{t.commands}</p>
          <fieldset class="row">
            <legend class="out-of-sight">{t.key_kind}</legend>
            {(['ec', 'rsa'] as const).map((each) => (
              <label key={each} class="radio">
                <input type="radio" name="kind" checked={kind === each} onChange={() => set_kind(each)} /> {each === 'ec' ? 'EC P-256' : 'RSA 2048'}
              </label>
            ))}
          </fieldset>
          <div class="commands">
            <pre tabIndex={0} aria-label={t.step_sign}>{commands(code?.code ?? '…', kind)}</pre>
            {code && <Copy text={`${commands(code.code, kind)}\n`} label={t.step_sign} />}
          </div>
          <p class="hint">{t.not_self_signed}</p>
        </li>
        <li>
          <h2>{t.step_files}</h2>
          <div class="two">
            <PemField label={t.ca_file} hint={t.ca_hint} value={ca} on={anew(set_ca)} fault={fault && !about_proof ? said : undefined} />
            <PemField label={t.proof_file} hint={t.proof_hint} value={proof} on={anew(set_proof)} fault={about_proof ? said : undefined} />
          </div>
        </li>
        <li>
          <h2>{t.step_rules}</h2>
          <Tick label={texts.value.cas.auto_register} value={auto_register} on={set_auto} hint={auto_register ? texts.value.cas.act.auto_on : texts.value.cas.act.auto_off} />
          <Tick label={texts.value.cas.approve} value={approve} on={set_approve} hint={approve ? texts.value.cas.act.approve_on : ''} />
          {missing && (
            <p class="fault" role="alert">
              {t.need_both}
            </p>
          )}
          <button type="button" class="button button-main" disabled={busy} onClick={() => void submit()}>
            {t.submit}
          </button>
        </li>
      </ol>
    </Page>
  );
}
