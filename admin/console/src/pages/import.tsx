// Registering many devices at once, with progress and the faults by their line.
import { signal } from '@preact/signals';
import { useState } from 'preact/hooks';
import { ask, Problem } from '../api/http';
import { holds_key } from '../api/keys';
import type { ImportOutcome, Status } from '../api/objects';
import { send, type Sending } from '../api/send';
import { Link, place } from '../route';
import { changed, may_change } from '../session';
import { texts } from '../texts';
import { act, as_problem } from '../ui/act';
import { Page, Section } from '../ui/page';
import { ProblemBox } from '../ui/problem';
import { Table } from '../ui/table';
import { bytes, count, Name, Short, visible } from '../ui/words';

// Outside of the page: an import goes on while somebody looks at other pages.
const state = signal<{ share?: number; counted?: Status['imports']; outcome?: ImportOutcome; problem?: Problem }>({});
let sending: Sending<ImportOutcome> | undefined;

export function Import() {
  const t = texts.value.imports;
  const [file, set_file] = useState<Blob & { name?: string }>();
  const [pasted, set_pasted] = useState('');
  const [over, set_over] = useState(false);
  const [trouble, set_trouble] = useState('');
  const wanted = place.value.query.get('id') ?? '';
  const { share, counted, outcome, problem } = state.value;
  const body = file ?? (pasted.trim() ? new Blob([pasted]) : undefined);
  const name = file?.name ?? t.or_paste;

  const run = async (what: Blob) => {
    state.value = { share: 0 };
    sending = send<ImportOutcome>('/v1/devices/import', what, 'application/x-pem-file', (sent) => {
      state.value = { ...state.value, share: sent };
    });
    const timer = setInterval(() => {
      ask<Status>('/v1/status', { background: true }).then(
        (found) => {
          if (sending) state.value = { ...state.value, counted: found.imports };
        },
        () => undefined,
      );
    }, 700);
    try {
      state.value = { outcome: await sending.answer };
      set_file(undefined);
      set_pasted('');
    } catch (error) {
      state.value = { problem: as_problem(error) };
    }
    clearInterval(timer);
    sending = undefined;
    changed();
  };
  // The dialog closes, and the page shows how far it is: an import may take minutes.
  const start = async () => {
    if (!body) return;
    if (await holds_key(body)) {
      refuse_key();
      return;
    }
    act({
      title: t.impact_title(visible(name)),
      verb: t.start,
      impact: () => Promise.resolve(<p class="impact">{t.impact(bytes(body.size))}</p>),
      run: () => {
        void run(body);
        return Promise.resolve(<p>{texts.peek().ui.working}</p>);
      },
    });
  };
  // What was said of the one before is not of the new one.
  const anew = () => {
    set_trouble('');
    if (share === undefined) state.value = {};
  };
  const refuse_key = () => {
    set_trouble(texts.peek().pem.private_key_bundle);
    set_file(undefined);
    set_pasted('');
  };
  const take = async (files: FileList | null | undefined) => {
    const [chosen] = files ?? [];
    if (!chosen) return;
    anew();
    if (files && files.length > 1) {
      set_trouble(t.one_file);
      return;
    }
    if (await holds_key(chosen)) refuse_key();
    else set_file(chosen);
  };
  const above = <Link to="/devices">← {texts.value.devices.title}</Link>;
  if (!may_change.value)
    return (
      <Page title={t.title} above={above}>
        <p class="note">{texts.value.app.viewer_note}</p>
      </Page>
    );
  return (
    <Page title={t.title} lead={t.lead} above={above}>
      {wanted && (
        <p class="note">
          {t.wanted} <Name>{place.value.query.get('cn')}</Name> <Short id={wanted} />
        </p>
      )}
      <div class="two">
        <div
          class={`drop drop-tall${over ? ' drop-over' : ''}`}
          onDragOver={(event) => {
            event.preventDefault();
            set_over(true);
          }}
          onDragLeave={() => set_over(false)}
          onDrop={(event) => {
            event.preventDefault();
            set_over(false);
            void take(event.dataTransfer?.files);
          }}
        >
          <strong>{t.file}</strong>
          <span>{file ? <bdi>{`${visible(file.name ?? '')}, ${bytes(file.size)}`}</bdi> : texts.value.pem.drop}</span>
          <label class="button">
            {texts.value.pem.choose}
            <input type="file" class="out-of-sight" aria-label={`${texts.value.pem.choose}: ${t.file}`} onChange={(event) => void take(event.currentTarget.files)} />
          </label>
        </div>
        <div class="field">
          <label for="pasted">{t.or_paste}</label>
          <textarea
            id="pasted"
            rows={6}
            spellcheck={false}
            value={pasted}
            onInput={(event) => {
              anew();
              set_pasted(event.currentTarget.value);
            }}
          />
        </div>
      </div>
      {trouble && (
        <p class="fault" role="alert">
          {trouble}
        </p>
      )}
      <div class="row row-after">
        <button type="button" class="button button-main" disabled={!body || share !== undefined} onClick={() => void start()}>
          {t.start}
        </button>
        {share !== undefined && (
          <button type="button" class="button" onClick={() => sending?.abort()}>
            {t.abort}
          </button>
        )}
      </div>
      {share !== undefined && (
        <div class="progress">
          <progress max={1} value={share} aria-label={t.sent(Math.round(share * 100))} />
          <p role="status">
            {t.sent(Math.round(share * 100))}
            {counted && counted.running > 0 && ` · ${t.counted(counted.certificates_read, counted.registered, counted.failed)}`}
          </p>
          <p class="hint">{t.approx}</p>
        </div>
      )}
      {problem && (problem.status === -1 ? <p class="note" role="status">{t.stopped}</p> : <ProblemBox problem={problem} />)}
      {outcome && (
        <>
          <div class={outcome.failed > 0 || outcome.registered + outcome.already === 0 ? 'note' : 'outcome'} role="status">
            <p>{outcome.registered + outcome.already + outcome.failed === 0 ? t.found_none : t.done(outcome.registered, outcome.already, outcome.failed)}</p>
          </div>
          {outcome.failures.length > 0 && (
            <Section title={t.faults}>
              <Table
                label={t.faults}
                rows={outcome.failures.slice(0, 500)}
                id={(one) => `${one.line} ${one.reason}`}
                columns={[
                  { head: t.line, class: 'col-number', cell: (one) => count(one.line) },
                  { head: t.reason, cell: (one) => texts.value.reasons[one.reason] ?? one.reason },
                  { head: t.detail, cell: (one) => <bdi class="name">{visible(one.detail)}</bdi> },
                ]}
              />
              {outcome.failures_omitted + Math.max(0, outcome.failures.length - 500) > 0 && <p class="hint">{t.omitted(outcome.failures_omitted + Math.max(0, outcome.failures.length - 500))}</p>}
            </Section>
          )}
        </>
      )}
    </Page>
  );
}
