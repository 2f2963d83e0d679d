// The decision drawn as a path through its gates. It goes on while a gate lets it through, and ends at the one that does
// not; what lies behind that is shown as not reached.
import type { Explanation, Step } from '../api/objects';
import { texts } from '../texts';
import { Status } from './status';
import { moment, visible } from './words';

type How = 'passed' | 'stopped' | 'ahead' | 'skipped';

interface Gate {
  step: number;
  how: How;
  notes: Step[];
}

// The steps of one answer by their number, with those between that were not needed and those behind that were not reached.
export function gates_of(told: Explanation): Gate[] {
  const last = told.steps.reduce((most, each) => Math.max(most, each.step), 0);
  const stop = told.admitted ? 0 : (told.stopped_at ?? last);
  const gates: Gate[] = [];
  for (let step = 1; step <= 8 || step <= last; step += 1) {
    const notes = told.steps.filter((each) => each.step === step);
    let how: How = 'passed';
    if (!told.admitted && step === stop) how = 'stopped';
    else if (!told.admitted && step > stop) how = 'ahead';
    else if (notes.length === 0) how = 'skipped';
    gates.push({ step, how, notes });
  }
  return gates;
}

function Mark({ how }: { how: How }) {
  return (
    <svg class="gate-mark" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">
      {how === 'stopped' ? (
        // A portcullis that is down.
        <>
          <rect x="2" y="2" width="20" height="20" rx="3" fill="currentColor" />
          <path d="M7.5 5v14M12 5v14M16.5 5v14M5 9.5h14M5 14.5h14" class="gate-bars" />
        </>
      ) : how === 'passed' ? (
        <>
          <circle cx="12" cy="12" r="9" fill="currentColor" />
          <path d="M7.5 12.3l3 3 6-6.4" class="gate-tick" />
        </>
      ) : (
        <circle cx="12" cy="12" r="7" fill="none" stroke="currentColor" stroke-width="1.6" stroke-dasharray="3 3" />
      )}
    </svg>
  );
}

export function DecisionPath({ told }: { told: Explanation }) {
  const t = texts.value;
  const r = t.refusals;
  return (
    <div class="decision">
      <p class="decision-verdict">
        <Status is={told.admitted ? 'admitted' : 'refused'} />
        {!told.admitted && told.reason && <strong>{t.reasons[told.reason] ?? told.reason}</strong>}
        {!told.admitted && told.reason && <code>{told.reason}</code>}
        <span class="quiet">{told.source === 'refusal' ? r.as_then(moment(told.refused_at ?? told.at)) : r.as_now}</span>
      </p>
      <ol class="gates" aria-label={r.path}>
        {gates_of(told).map((gate) => (
          <li key={gate.step} class={`gate gate-${gate.how}`}>
            <Mark how={gate.how} />
            <div class="gate-says">
              <p class="gate-title">
                {gate.step}. {t.steps[gate.step] ?? ''}
                {gate.how === 'stopped' && <span class="gate-flag">{r.stopped}</span>}
                {gate.how === 'ahead' && <span class="quiet"> · {r.not_reached}</span>}
                {gate.how === 'skipped' && <span class="quiet"> · {r.not_needed}</span>}
              </p>
              {gate.notes.map((note, index) => (
                <p key={index} class="gate-note" lang="en">
                  <bdi class="quiet">{visible(note.what)}</bdi>
                  <bdi class="gate-found">{visible(note.found)}</bdi>
                </p>
              ))}
            </div>
          </li>
        ))}
      </ol>
    </div>
  );
}
