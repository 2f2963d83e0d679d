// The decision drawn as a path through its gates. It goes on while a gate lets it through, and ends at the one that does
// not; what lies behind that is shown as not reached.
import type { Explanation, Step } from '../api/objects';
import { texts } from '../texts';
import { Status } from './status';
import { moment, visible } from './words';

// open: nothing was shown here that lets through or stops, and the path goes on.
type How = 'passed' | 'stopped' | 'ahead' | 'open';

// Whether TLS proved that the private key is held: `file` where only a certificate was asked about.
export type Possession = 'proven' | 'claimed' | 'file';

interface Gate {
  step: number;
  how: How;
  word: string; // why it is open, or not reached
  notes: Step[];
}

// The server's words for what its walk looked at and what let nobody through (cache/standing/device_gate.cc).
const GOES_ON = /^(not alive|not registered$)/;

// The steps of one answer by their number, with those between that were not needed and those behind that were not
// reached. A tick stands only where something was found to be right: of a kept refusal only its end is known, and for a
// certificate that is not registered steps 2 and 3 say nothing.
export function gates_of(told: Explanation, possession: Possession): Gate[] {
  const r = texts.value.refusals;
  const last = told.steps.reduce((most, each) => Math.max(most, each.step), 0);
  const stop = told.admitted ? 0 : (told.stopped_at ?? last);
  const gates: Gate[] = [];
  for (let step = 1; step <= 8 || step <= last; step += 1) {
    let notes = told.steps.filter((each) => each.step === step);
    let how: How = 'passed';
    let word = '';
    const flaw = stop > step && notes.some((each) => GOES_ON.test(each.found));
    const one_way = notes.some((each) => each.what.endsWith('is one-way'));
    if (!told.admitted && step === stop) how = 'stopped';
    else if (!told.admitted && step > stop) [how, word] = ['ahead', r.not_reached];
    else if (step === 1 && possession !== 'proven' && !one_way) [how, word] = ['open', possession === 'file' ? r.not_of_a_file : r.not_proven];
    else if (told.source === 'refusal') [how, word] = step === 2 || step === 3 ? ['open', r.not_kept] : ['passed', ''];
    else if (notes.length === 0) [how, word] = ['open', r.not_needed];
    else if (flaw || GOES_ON.test(notes[notes.length - 1]?.found ?? '')) [how, word] = ['open', r.goes_on];
    if (step === 1 && how !== 'stopped' && !one_way) notes = [];
    // Of a kept refusal the title says what was looked at, and the verdict that it was refused.
    if (told.source === 'refusal') notes = step === stop ? notes.filter((each) => !each.found.endsWith('certificate was refused')).map((each) => ({ ...each, what: '' })) : [];
    gates.push({ step, how, word, notes });
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

interface PathProps {
  told: Explanation;
  possession: Possession;
  at_stop?: string; // said at the gate where it ended, beside the server's words
}

export function DecisionPath({ told, possession, at_stop }: PathProps) {
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
        {gates_of(told, possession).map((gate) => (
          <li key={gate.step} class={`gate gate-${gate.how}`}>
            <Mark how={gate.how} />
            <div class="gate-says">
              <p class="gate-title">
                {gate.step}. {t.steps[gate.step] ?? ''}
                {gate.how === 'stopped' && <span class="gate-flag">{r.stopped}</span>}
                {gate.word && <span class="quiet"> · {gate.word}</span>}
              </p>
              {gate.notes.map((note, index) => (
                <p key={index} class="gate-note" lang="en">
                  {note.what && <bdi class="quiet">{visible(note.what)}</bdi>}
                  <bdi class="gate-found">{visible(note.found)}</bdi>
                </p>
              ))}
              {gate.how === 'stopped' && at_stop && (
                <p class="gate-note">
                  <bdi class="gate-found">{visible(at_stop)}</bdi>
                </p>
              )}
            </div>
          </li>
        ))}
      </ol>
    </div>
  );
}
